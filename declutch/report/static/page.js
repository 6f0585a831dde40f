"use strict";

(function drawPage() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { iterations, metrics, evaluations, comparison } = data.charts;
  const palette = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)", "var(--c7)"];
  const levelColor = (level) => (["L0", "L1", "L2", "mean", "L0-train", "L2-seen"].includes(level) ? `var(--${level})` : "var(--c6)");
  const percentAxis = (value) => formatPercent(value, 0);

  const series = (entries) => entries.filter(([, key]) => (metrics[key] || []).some(isPresent))
    .map(([name, key, color], index) => ({ name, color: color || palette[index % palette.length], x: iterations, y: metrics[key] }));
  const shares = (title, entries, note) => ({ title, note, smooth: true, min: 0, format: formatPercent, tickFormat: percentAxis, series: series(entries) });
  const numbers = (title, entries, more) => ({ title, smooth: true, series: series(entries), ...more });

  const evaluated = { title: "Evaluation by level", note: "fixed games, 95% band", height: 260, min: 0, max: 1, format: formatPercent, tickFormat: percentAxis,
    series: Object.entries(evaluations).map(([level, points]) => {
      const column = (i) => points.map((p) => p[i]);
      return { name: level, color: levelColor(level), marks: true, x: column(0), y: column(1), low: column(2), high: column(3), n: column(4) };
    }) };
  const kinds = Object.keys(metrics).filter((key) => key.startsWith("agent/success/")).map((key) => [key.slice("agent/success/".length), key]);
  const groups = [
    ["Success", [evaluated,
      { ...shares("Training success", [["success", "agent/success"]], "games drawn for training"), max: 1 },
      { ...shares("Training success by task type", kinds), max: 1 }]],
    ["Behaviour in training", [
      shares("Repeated and looped actions", [["repeated", "agent/repeated_share", "var(--c2)"], ["looped", "agent/looped_share", "var(--c5)"]]),
      shares("Invalid, inadmissible, out of steps", [["invalid format", "agent/invalid_share"], ["inadmissible", "agent/inadmissible_share", "var(--c2)"], ["out of steps", "agent/timed_out_share", "var(--c7)"]]),
      numbers("Steps per episode", [["steps", "agent/num_steps"]]),
      numbers("Tokens per response", [["agent", "agent/response_tokens"], ["judge", "judge/response_tokens", "var(--c5)"]]),
      shares("Groups without a difference in return", [["equal returns", "agent/zero_variance_share", "var(--c7)"]], "they teach nothing"),
      numbers("Groups replaced", [["dropped", "agent/replaced_groups", "var(--c7)"], ["played instead", "agent/refilled_groups"]], { min: 0, note: "dynamic sampling" }),
      shares("Ways of reasoning", ["planning", "explore", "reflection", "monitor"].map((tag) => [tag, `agent/tag/${tag}`]), "of steps that name one")]],
    ["Judge", [
      { ...shares("Judge accuracy", [["all", "judge/accuracy", "var(--mean)"], ["good steps", "judge/accuracy_good", "var(--c3)"], ["bad steps", "judge/accuracy_bad", "var(--c2)"]], "verdict equals label"), max: 1 },
      { ...shares("What the judge says", [["“1” (good)", "judge/one_share", "var(--c4)"], ["unreadable", "judge/unreadable_share", "var(--c7)"]]), max: 1 },
      numbers("Suggestions", [["rules in prompts", "suggestions/num_rules", "var(--c3)"], ["pieces of advice", "suggestions/num_advice", "var(--c5)"]], { min: 0 }),
      shares("Labels among the steps played", [["oracle good", "labels/oracle_good", "var(--c3)"], ["oracle bad", "labels/oracle_bad", "var(--c2)"], ["rule good", "labels/rule_good", "var(--c1)"], ["rule bad", "labels/rule_bad", "var(--c5)"]]),
      { ...shares("Precision of the rule against the oracle", [["good", "labels/rule_precision_good", "var(--c3)"], ["bad", "labels/rule_precision_bad", "var(--c2)"]]), max: 1 }]],
    ["Update", [
      numbers("Gradient norm", [["agent", "update/grad_norm_agent", "var(--c1)"], ["judge", "update/grad_norm_judge", "var(--c5)"], ["together", "update/grad_norm", "var(--c7)"]], { log: true, note: "logarithmic" }),
      numbers("Cosine of agent and judge gradients", [["cosine", "update/grad_cosine", "var(--c4)"]]),
      numbers("KL to the cold-start model", [["agent", "update/kl"], ["judge", "update/kl_judge", "var(--c5)"]], { min: 0 }),
      numbers("Entropy", [["agent", "update/entropy"], ["judge", "update/entropy_judge", "var(--c5)"]], { note: "nats per token" }),
      shares("Clipped tokens", [["clipped", "update/clip_share"]]),
      numbers("Sampler against learner", [["mean |Δ log p|", "update/mismatch_mean"], ["max", "update/mismatch_max", "var(--c2)"]], { log: true, note: "logarithmic" }),
      numbers("Loss", [["agent", "update/loss_agent"], ["judge", "update/loss_judge", "var(--c5)"]]),
      numbers("Tokens per second in the update", [["tokens/s", "time/tokens_per_second", "var(--c3)"]], { min: 0 })]],
    ["Critic", [
      numbers("Explained variance", [["of the returns", "critic/explained_variance", "var(--c1)"]], { note: "by the values before the update" }),
      numbers("Value loss", [["loss", "critic/loss"]], { min: 0 }),
      shares("Clipped values", [["clipped", "critic/clip_share"]]),
      numbers("Critic's gradient norm", [["norm", "critic/grad_norm"]], { log: true, note: "logarithmic" })]],
  ];
  const charts = document.getElementById("charts");
  for (const [name, specs] of groups) {
    const drawable = specs.filter((spec) => spec.series.some((s) => s.y.some((v) => isPresent(v) && (!spec.log || v > 0))));
    if (!drawable.length) continue;
    const grid = html("div", { class: "chart-grid" });
    charts.append(html("h3", { class: "group", text: name }), grid);
    for (const spec of drawable) {
      const panel = html("div", { class: spec === evaluated ? "panel wide" : "panel" });
      grid.append(panel);
      lineChart(panel, spec);
    }
  }
  if (!charts.children.length) charts.append(html("p", { class: "empty", text: "No iteration has been recorded." }));

  if (comparison.length) comparisonChart(document.getElementById("comparison"), comparison, levelColor);

  const phases = [["play", "c1"], ["label", "c4"], ["judge", "c5"], ["update", "c3"], ["eval", "c7"], ["save", "c6"]]
    .filter(([phase]) => (metrics[`time/${phase}`] || []).some(isPresent))
    .map(([phase, color]) => ({ name: phase === "eval" ? "evaluate" : phase, color: `var(--${color})`, y: metrics[`time/${phase}`] }));
  if (phases.length) stackedChart(document.getElementById("phases"), { title: "Seconds per iteration", note: "phases stacked", x: iterations, series: phases });

  episodeBrowser(document.getElementById("browser"), data.episodes);
})();
