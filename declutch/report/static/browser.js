"use strict";

/** The episodes of one iteration, unpacked on first use. */
const unpackedChunks = new Map();
function loadChunk(iteration) {
  if (!unpackedChunks.has(iteration)) {
    const text = document.getElementById(`chunk-${iteration}`).textContent;
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    unpackedChunks.set(iteration, new Response(stream).json());
  }
  return unpackedChunks.get(iteration);
}

const OUTCOME_WORDS = { won: "won", failed: "failed", timed_out: "ran out of steps", truncated: "ran out of room for its prompt", env_error: "environment error" };

function episodeBrowser(host, chunks) {
  const items = chunks.flatMap((chunk) => chunk.episodes.map((episode, index) => ({ ...episode, index, iteration: chunk.iteration }))).reverse();
  items.sort((a, b) => b.iteration - a.iteration || a.index - b.index);
  if (!items.length) return;
  const count = html("div", { class: "count", "aria-live": "polite" });
  const list = html("div", { class: "list", role: "list" });
  const detail = html("div", { class: "episode" });
  const unique = (key) => [...new Set(items.map((item) => item[key]))].sort((a, b) => (a > b ? 1 : a < b ? -1 : 0));
  const selects = {
    outcome: choice("outcome", [["", "any outcome"], ["won", "won"], ["lost", "not won"]]),
    kind: choice("task type", [["", "all task types"], ...unique("kind").map((k) => [k, k || "no type"])]),
    iteration: choice("iteration", [["", "all iterations"], ...unique("iteration").map((k) => [String(k), `iteration ${k}`])]),
    judged: choice("judgments", [["", "judged or not"], ["yes", "with judgments"]]),
  };
  const search = html("input", { type: "search", placeholder: "search task names", "aria-label": "search task names", style: "grid-column:1/-1" });
  const filters = html("div", { class: "filters" }, search, ...Object.values(selects), count);
  host.append(html("div", { class: "browser" }, html("div", { class: "side" }, filters, list), detail));

  let shown = [], current = null;
  const open = (item) => {
    current = item;
    for (const button of list.children) button.setAttribute("aria-current", button.item === item);
    showEpisode(detail, item, step);
  };
  const step = (by) => {
    const next = shown[shown.indexOf(current) + by];
    if (next) { open(next); document.getElementById("episodes").scrollIntoView(); }
  };
  const filter = () => {
    const words = search.value.toLowerCase();
    shown = items.filter((item) =>
      (!selects.outcome.value || (item.outcome === "won") === (selects.outcome.value === "won"))
      && (!selects.kind.value || item.kind === selects.kind.value)
      && (!selects.iteration.value || String(item.iteration) === selects.iteration.value)
      && (!selects.judged.value || item.judged > 0)
      && item.name.toLowerCase().includes(words));
    const won = shown.filter((item) => item.outcome === "won").length;
    count.textContent = `${shown.length} episodes, ${won} won`;
    list.replaceChildren(...shown.map((item) => listItem(item, () => open(item))));
    if (shown.includes(current)) open(current);
    else if (shown.length) open(shown[0]);
    else { current = null; detail.replaceChildren(html("p", { class: "empty", text: "No episode matches." })); }
  };
  for (const control of [search, ...Object.values(selects)]) control.addEventListener("input", filter);
  filter();
}

function choice(label, options) {
  return html("select", { "aria-label": label }, ...options.map(([value, text]) => html("option", { value, text })));
}

function listItem(item, onClick) {
  const judged = item.judged ? ` · ${item.judged} judged` : "";
  const button = html("button", { class: "item", type: "button", role: "listitem" },
    html("span", { class: `dot ${item.outcome === "won" ? "won" : "lost"}`, title: OUTCOME_WORDS[item.outcome] || item.outcome }),
    html("span", { class: "name", text: item.name, title: item.name }),
    html("span", { class: "count", text: `${item.steps} steps` }),
    html("span", { class: "meta", text: `iteration ${item.iteration} · ${item.kind}${judged}` }));
  button.item = item;
  button.addEventListener("click", onClick);
  return button;
}

async function showEpisode(host, item, step) {
  let episode;
  try {
    episode = (await loadChunk(item.iteration))[item.index];
  } catch (error) {
    host.replaceChildren(html("p", { class: "empty", text: `This browser could not unpack the episode (${error.message}).` }));
    return;
  }
  const pager = html("div", { class: "pager" });
  for (const [text, by, label] of [["←", -1, "previous episode"], ["→", 1, "next episode"]]) {
    const button = html("button", { type: "button", text, "aria-label": label });
    button.addEventListener("click", () => step(by));
    pager.append(button);
  }
  const group = isPresent(episode.group) ? ` · group ${episode.group}` : "";
  const strip = html("div", { class: "strip" });
  const largest = Math.max(1e-9, ...episode.steps.map((one) => Math.abs(one.advantage || 0)));
  const cards = episode.steps.map((one, index) => {
    const card = stepCard(one, index, largest);
    const link = html("a", { href: "#episodes", class: `${labelClass(stepLabel(one))} ${(one.judgments || []).length ? "judged" : ""}`, text: index + 1, title: one.action });
    link.addEventListener("click", (event) => { event.preventDefault(); card.scrollIntoView({ behavior: "smooth", block: "start" }); });
    strip.append(link);
    return card;
  });
  host.replaceChildren(pager, html("h3", { text: episode.task.name }),
    html("p", { class: "caption" }, html("span", { class: `badge ${episode.outcome === "won" ? "good" : "bad"}`, text: OUTCOME_WORDS[episode.outcome] || episode.outcome }),
      document.createTextNode(` ${episode.task.kind} · iteration ${item.iteration}${group} · ${episode.steps.length} steps · score ${episode.score}`)),
    strip, ...cards,
    html("div", { class: "step ending" }, html("p", { class: "observation", style: "margin:0", text: episode.final_observation || "(nothing)" })));
}

function stepLabel(step) { return isPresent(step.label_oracle) ? step.label_oracle : step.label_rule; }
function labelClass(label) { return label === 1 ? "good" : label === 0 ? "bad" : ""; }

function stepCard(step, index, largest) {
  const head = html("div", { class: "head" }, html("span", { class: "number", text: `step ${index + 1}` }), html("span", { class: "action", text: step.action || "(no action could be read)" }));
  const badge = (text, kind, title) => head.append(html("span", { class: `badge ${kind}`, text, title: title || null }));
  if (!step.is_valid) badge("invalid format", "bad");
  else if (!step.is_admissible) badge("inadmissible", "bad");
  if (step.is_repeated) badge("repeated", "warn");
  if (step.is_looped) badge("looped", "warn");
  for (const [name, label] of [["rule", step.label_rule], ["oracle", step.label_oracle], ["LLM", step.label_llm]]) {
    if (isPresent(label)) badge(`${name}: ${label === 1 ? "good" : "bad"}`, labelClass(label), `label from the ${name}`);
  }
  if (step.reward) badge(`reward ${formatNumber(step.reward)}`, "good");
  if (isPresent(step.advantage)) head.append(advantageBar(step.advantage, largest));
  const card = html("article", { class: "step" }, html("p", { class: "observation", text: step.observation }), head);
  card.append(html("pre", { class: "response", text: step.response || "(empty response)", title: "the response as it was sampled" }));
  const judgments = step.judgments || [];
  const more = html("div", { class: "more" }, folded("prompt", step.prompt), judgments.length ? judgmentList(judgments) : null);
  card.append(more);
  return card;
}

function advantageBar(value, largest) {
  const half = 50 * Math.min(1, Math.abs(value) / largest);
  const side = value >= 0 ? `left:50%;background:var(--good)` : `right:50%;background:var(--bad)`;
  const track = html("span", { class: "track" }, html("i", { style: `${side};width:${half}%` }));
  const text = (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2);
  return html("span", { class: "advantage", title: "advantage in the update" }, track, document.createTextNode(`advantage ${text}`));
}

function judgmentList(judgments) {
  const ones = judgments.filter((j) => j.verdict === 1).length;
  const zeros = judgments.filter((j) => j.verdict === 0).length;
  const right = judgments.filter((j) => j.reward > 0).length;
  const unreadable = judgments.filter((j) => !isPresent(j.verdict)).length;
  const predicts = judgments.some((j) => typeof j.verdict === "string");
  let text = predicts ? `${judgments.length} predictions` : `${judgments.length} judgments: ${ones} good, ${zeros} bad`;
  if (unreadable) text += `, ${unreadable} unreadable`;
  const match = predicts ? "come true" : "match the label";
  const details = html("details", {}, html("summary", { text: `${text} · ${right} ${match}` }));
  for (const judgment of judgments) {
    const verdict = predicts ? (judgment.reward > 0 ? "true" : "false") : `says ${judgment.verdict}`;
    details.append(html("div", { class: "judgment" },
      html("span", { class: `badge ${judgment.reward > 0 ? "good" : "bad"}`, text: isPresent(judgment.verdict) ? verdict : "unreadable" }),
      html("pre", { text: judgment.response })));
  }
  return details;
}

function folded(title, text) {
  return html("details", {}, html("summary", { text: title }), html("pre", { text: text || "(empty)" }));
}
