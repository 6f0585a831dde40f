"use strict";

/** Figures of coupling from plain data: curves, points, bars, heat maps and scored tokens. */

const FIGURE_DASHES = [null, "8 3", "2 2", "8 3 2 3", "4 2"];

function figureColor(index) { return `var(--c${1 + (index % 7)})`; }

/** Blue below 0, white at 0, red above, as in the files that matplotlib draws. */
function divergingColor(value, limit) {
  if (!isPresent(value)) return "transparent";
  const share = Math.max(-1, Math.min(1, value / (limit || 1)));
  const end = share < 0 ? [33, 102, 172] : [178, 24, 43];
  const part = Math.abs(share) ** 0.8;
  return `rgb(${end.map((c) => Math.round(247 + (c - 247) * part)).join(",")})`;
}
function sequentialColor(value, low, high) {
  if (!isPresent(value)) return "transparent";
  const stops = [[0, 34, 78], [87, 93, 109], [124, 123, 120], [188, 175, 111], [254, 232, 56]];
  const at = high > low ? ((value - low) / (high - low)) * (stops.length - 1) : 0;
  const k = Math.min(stops.length - 2, Math.floor(at));
  return `rgb(${stops[k].map((c, i) => Math.round(c + (stops[k + 1][i] - c) * (at - k))).join(",")})`;
}
function isLightColor(color) {
  const [r, g, b] = (color.match(/\d+/g) || [255, 255, 255]).map(Number);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140;
}

/** A box that follows the pointer over an element and says what `textOf(event)` returns. */
function addTip(figure, target, textOf) {
  let tip = null;
  const hide = () => { if (tip) { tip.remove(); tip = null; } };
  target.addEventListener("pointerleave", hide);
  target.addEventListener("pointermove", (event) => {
    hide();
    const lines = textOf(event);
    if (!lines) return;
    tip = html("div", { class: "tip" }, html("b", { text: lines[0] }), ...lines.slice(1).map((text) => html("div", { text })));
    figure.append(tip);
    const box = figure.getBoundingClientRect();
    const x = event.clientX - box.left;
    tip.style.left = Math.max(0, x + 14 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 14) + "px";
    tip.style.top = event.clientY - box.top + 14 + "px";
  });
}

function scaleOf(values, isLog, isFromZero) {
  let low = Math.min(...values), high = Math.max(...values);
  if (isLog) return { low, high, at: (v) => (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low) || 1), ticks: logTicks(low, high) };
  if (isFromZero) { low = Math.min(0, low); high = Math.max(0, high); }
  const pad = (high - low || Math.abs(high) || 1) * 0.04;
  if (!(isFromZero && low === 0)) low -= pad;
  high += pad;
  return { low, high, at: (v) => (v - low) / (high - low), ticks: niceTicks(low, high, 5).filter((t) => t >= low && t <= high) };
}

function plottedFigure(figure, plot, data) {
  const isBars = data.kind === "bars";
  const usable = (v, isLog) => isPresent(v) && (!isLog || v > 0);
  const xs = isBars ? data.x_ticks.map((_, i) => i) : data.series.flatMap((s) => s.x).filter((v) => usable(v, data.x_log));
  const ys = data.series.flatMap((s) => [...s.y, ...s.low, ...s.high]).filter((v) => usable(v, data.y_log));
  if (!xs.length || !ys.length) return;
  onWidth(plot, (width) => {
    const height = 330, left = 58, right = 14, top = 10, bottom = 44;
    const sx = scaleOf(xs, data.x_log, false), sy = scaleOf(ys, data.y_log, isBars);
    const slot = (width - left - right) / Math.max(data.x_ticks.length, 1);
    const px = (x) => (isBars ? left + (x + 0.5) * slot : left + sx.at(x) * (width - left - right));
    const py = (y) => top + (1 - sy.at(y)) * (height - top - bottom);
    const drawing = svg("svg", { height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": data.title });
    for (const tick of sy.ticks) {
      drawing.append(svg("line", { x1: left, x2: width - right, y1: py(tick), y2: py(tick), style: "stroke:var(--grid)" }));
      drawing.append(svg("text", { x: left - 7, y: py(tick) + 4, "text-anchor": "end", text: formatNumber(tick) }));
    }
    const ticks = isBars ? data.x_ticks.map((text, i) => [i, text]) : sx.ticks.map((t) => [t, formatNumber(t)]);
    for (const [x, text] of ticks) drawing.append(svg("text", { x: px(x), y: height - 26, "text-anchor": "middle", text }));
    drawing.append(svg("text", { x: left + (width - left - right) / 2, y: height - 6, "text-anchor": "middle", text: data.x_label }));
    drawing.append(svg("text", { transform: `translate(12 ${top + (height - top - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", text: data.y_label }));
    for (const [x, text] of data.marks) {
      drawing.append(svg("line", { x1: px(x), x2: px(x), y1: top, y2: height - bottom, style: "stroke:var(--muted)", "stroke-dasharray": "4 3" }));
      drawing.append(svg("text", { x: px(x) + 5, y: top + 11, text }));
    }
    const marks = [];
    data.series.forEach((s, index) => {
      const color = figureColor(index);
      const kept = s.x.map((x, i) => i).filter((i) => usable(s.x[i], data.x_log) && usable(s.y[i], data.y_log));
      if (!isBars) {
        const dash = s.style === "dashed" ? "3 3" : FIGURE_DASHES[index % FIGURE_DASHES.length];
        if (data.kind === "lines") {
          let path = "";
          let last = -2;
          for (const i of kept) { path += `${i === last + 1 ? "L" : "M"}${px(s.x[i]).toFixed(1)} ${py(s.y[i]).toFixed(1)}`; last = i; }
          drawing.append(svg("path", { d: path, style: `fill:none;stroke:${color};stroke-width:2`, "stroke-dasharray": dash }));
        }
        for (const i of kept) {
          if (s.low.length && isPresent(s.low[i])) drawing.append(svg("line", { x1: px(s.x[i]), x2: px(s.x[i]), y1: py(s.low[i]), y2: py(s.high[i]), style: `stroke:${color};stroke-opacity:.6` }));
          if (data.kind === "points" || kept.length === 1) drawing.append(svg("circle", { cx: px(s.x[i]), cy: py(s.y[i]), r: 3.5, style: `fill:${color}` }));
          marks.push([px(s.x[i]), py(s.y[i]), s, i]);
        }
      } else {
        const bar = (slot * 0.8) / data.series.length;
        for (const i of kept) {
          const x = px(s.x[i]) - slot * 0.4 + index * bar, zero = py(0), y = py(s.y[i]);
          drawing.append(svg("rect", { x, width: bar * 0.92, y: Math.min(y, zero), height: Math.abs(y - zero), style: `fill:${color}` }));
          if (s.low.length && isPresent(s.low[i])) drawing.append(svg("line", { x1: x + bar / 2, x2: x + bar / 2, y1: py(s.low[i]), y2: py(s.high[i]), style: "stroke:var(--ink)" }));
          marks.push([x + bar / 2, y, s, i]);
        }
      }
    });
    plot.replaceChildren(drawing);
    addTip(figure, drawing, (event) => {
      const box = drawing.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let best = null, distance = 40 * 40;
      for (const mark of marks) {
        const far = (mark[0] - x) ** 2 + (mark[1] - y) ** 2;
        if (far < distance) [best, distance] = [mark, far];
      }
      if (!best) return null;
      const [, , s, i] = best;
      const interval = s.low.length && isPresent(s.low[i]) ? ` [${formatNumber(s.low[i])}, ${formatNumber(s.high[i])}]` : "";
      const place = isBars ? data.x_ticks[s.x[i]] : `${data.x_label} ${formatNumber(s.x[i])}`;
      return [s.label || data.title, place, `${data.y_label} ${formatNumber(s.y[i])}${interval}`];
    });
  });
}

function colorBar(data, low, high) {
  const stops = [];
  for (let k = 0; k <= 10; k++) {
    const value = low + ((high - low) * k) / 10;
    stops.push(data.is_diverging || data.kind === "tokens" ? divergingColor(value, high) : sequentialColor(value, low, high));
  }
  return html("div", { class: "colorbar" }, html("span", { text: formatNumber(low) }),
    html("i", { style: `background:linear-gradient(90deg,${stops.join(",")})` }), html("span", { text: formatNumber(high) }), html("b", { text: data.value_label }));
}

function heatFigure(figure, plot, data) {
  const values = data.values.flat().filter(isPresent);
  const most = Math.max(...values.map(Math.abs), 0) || 1;
  const [low, high] = data.is_diverging ? [-most, most] : [Math.min(...values), Math.max(...values)];
  const colorOf = (value) => (data.is_diverging ? divergingColor(value, most) : sequentialColor(value, low, high));
  const table = html("table", { class: "heat", role: "img", "aria-label": data.title });
  table.append(html("tr", {}, html("th", { text: "" }), ...data.x_ticks.map((tick) => html("th", {}, html("span", { text: tick })))));
  data.values.forEach((row, r) => {
    table.append(html("tr", {}, html("th", { text: data.y_ticks[r] }), ...row.map((value, c) => {
      const cell = html("td", { style: `background:${colorOf(value)}` });
      cell.dataset.at = `${r},${c}`;
      return cell;
    })));
  });
  plot.append(html("div", { class: "scroll" }, table), colorBar(data, low, high));
  addTip(figure, table, (event) => {
    const at = event.target.dataset && event.target.dataset.at;
    if (!at) return null;
    const [r, c] = at.split(",").map(Number);
    const value = data.values[r][c];
    return [isPresent(value) ? formatNumber(value) : "no value", `${data.y_label}: ${data.y_ticks[r]}`, `${data.x_label}: ${data.x_ticks[c]}`];
  });
}

function tokenFigure(figure, plot, data) {
  const most = Math.max(...data.lines.flatMap((line) => line.scores.filter(isPresent).map(Math.abs)), 0) || 1;
  for (const line of data.lines) {
    const text = html("p", { class: "tokens" }, html("b", { text: `${line.label} (total ${formatNumber(line.total)}) ` }));
    line.tokens.forEach((token, i) => {
      const color = divergingColor(line.scores[i], most);
      const mark = html("span", { style: `background:${color};color:${isLightColor(color) ? "#111" : "#fff"}`, text: token.replace("\n", "⏎") });
      addTip(figure, mark, () => [token, formatNumber(line.scores[i])]);
      text.append(mark);
    });
    plot.append(text);
  }
  plot.append(colorBar(data, -most, most));
}

/** Draw every figure of the page's data into the panel that waits for it. */
function drawFigures(figures) {
  figures.forEach((data, index) => {
    const host = document.getElementById(`figure-${index}`);
    if (!host) return;
    const plot = html("div", { class: "plot" });
    const legend = html("div", { class: "legend" });
    const named = data.series.filter((s) => s.label);
    if (named.length > 1) data.series.forEach((s, k) => legend.append(html("span", {}, html("i", { style: `background:${figureColor(k)}` }), document.createTextNode(s.label))));
    const figure = html("figure", {}, html("figcaption", { text: data.title }), legend, plot);
    host.prepend(figure);
    ({ heatmap: heatFigure, tokens: tokenFigure }[data.kind] || plottedFigure)(figure, plot, data);
  });
}
