"use strict";

/** One episode of the browser: its head, a strip of its steps, and a card for each of them. */

const OUTCOME_WORDS = { won: "won", failed: "failed", timed_out: "ran out of steps", truncated: "ran out of room for its prompt", env_error: "environment error" };
const LABEL_SOURCES = { oracle: "oracle", rule: "rule", llm: "LLM" };

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

/**
 * A place for an episode beside the list. `browser` has labelFilter(), paneChanged(pane),
 * stepLink(pane), askedFor(pane, what).
 */
class EpisodePane {
  constructor(browser) {
    this.browser = browser;
    this.item = null;
    this.step = 0;
    this.wanted = new Set();
    this.cards = new Map();
    this.element = html("div", { class: "episode", role: "group", "aria-label": "episode" });
    this.element.addEventListener("focusin", () => browser.activate(this));
    this.element.addEventListener("pointerdown", () => browser.activate(this));
  }

  /** Open an episode at a step; `unfolded` names the parts of that step that are open. */
  async open(item, { step = 0, unfolded = [] } = {}) {
    this.item = item;
    this.step = step;
    this.wanted = new Set(unfolded);
    let episode;
    try {
      episode = (await loadChunk(item.iteration))[item.index];
    } catch (error) {
      this.say(`This browser could not unpack the episode (${error.message}).`);
      return;
    }
    // Another one may have been opened while this one was unpacked.
    if (this.item === item) this.draw(episode);
  }

  /** The parts of the current step that are open; until it is drawn, those that will be. */
  get unfolded() {
    const card = this.cards.get(this.step);
    return card && card.item === this.item ? new Set([...card.querySelectorAll("details[open]")].map((fold) => fold.dataset.name)) : this.wanted;
  }

  say(sentence) {
    this.cards.clear();
    this.element.replaceChildren(html("p", { class: "empty", text: sentence }));
  }

  draw(episode) {
    const { item, browser } = this;
    const filter = browser.labelFilter();
    const positions = episode.steps.map((_, index) => index).filter((index) => !filter || episode.steps[index][`label_${filter.source}`] === filter.label);
    const largest = Math.max(1e-9, ...episode.steps.map((one) => Math.abs(one.advantage || 0)));
    this.cards = new Map(positions.map((index) => [index, this.card(episode.steps[index], index, largest)]));
    this.strip = html("div", { class: "strip", role: "group", "aria-label": "steps" });
    this.links = new Map(positions.map((index) => {
      const step = episode.steps[index];
      const button = html("button", { type: "button", tabindex: -1, class: `${labelClass(stepLabel(step))} ${(step.judgments || []).length ? "judged" : ""}`, text: index + 1, title: step.action, "aria-label": `step ${index + 1}` });
      button.addEventListener("click", () => this.select(index, { focus: true, scroll: true }));
      this.strip.append(button);
      return [index, button];
    }));
    const tools = [["←", "previous episode", "previous"], ["→", "next episode", "next"], ...browser.paneTools(this)];
    const pager = html("div", { class: "pager" }, ...tools.map(([text, label, what]) => {
      const button = html("button", { type: "button", text, "aria-label": label, title: label });
      button.dataset.tool = what;
      button.addEventListener("click", () => browser.asked(this, what));
      return button;
    }));
    const group = isPresent(episode.group) ? ` · group ${episode.group}` : "";
    const ofAll = filter ? `${positions.length} of ${episode.steps.length} steps are ${filter.text}; the others are hidden` : `${episode.steps.length} steps`;
    this.element.setAttribute("aria-label", `episode ${episode.task.name}, iteration ${item.iteration}`);
    this.element.replaceChildren(pager, html("h3", { text: episode.task.name }),
      html("p", { class: "caption" }, html("span", { class: `badge ${episode.outcome === "won" ? "good" : "bad"}`, text: OUTCOME_WORDS[episode.outcome] || episode.outcome }),
        document.createTextNode(` ${episode.task.kind} · iteration ${item.iteration}${group} · ${ofAll} · score ${episode.score}`)),
      this.strip, ...this.cards.values(),
      html("div", { class: "step ending" }, html("p", { class: "observation", style: "margin:0", text: episode.final_observation || "(nothing)" }),
        ...(episode.error ? [html("p", { class: "caption", text: `It broke off: ${episode.error}` })] : [])));
    const first = positions.includes(this.step) ? this.step : positions[0];
    if (first !== undefined) this.select(first, { unfolded: this.wanted });
    browser.paneDrawn(this);
  }

  /** Make a step the one that the keyboard is at and the address names. */
  select(index, { focus = false, scroll = false, unfolded = null } = {}) {
    const card = this.cards.get(index);
    if (!card) return;
    this.step = index;
    for (const [place, each] of this.cards) {
      const isHere = place === index;
      each.setAttribute("aria-current", isHere ? "step" : "false");
      // Only what belongs to the current step is on the way of the tab key.
      for (const part of [each, ...each.querySelectorAll("summary, button, .response")]) part.tabIndex = isHere ? 0 : -1;
      this.links.get(place).tabIndex = isHere ? 0 : -1;
      this.links.get(place).setAttribute("aria-current", isHere ? "step" : "false");
    }
    if (unfolded) for (const fold of card.querySelectorAll("details")) fold.open = unfolded.has(fold.dataset.name);
    if (scroll) this.reveal(card);
    if (focus) card.focus({ preventScroll: true });
    this.browser.paneChanged(this);
  }

  /** Bring a step into sight, on the page or in the episode's own scrolling part of it. */
  reveal(card) {
    const isOwn = this.element.scrollHeight > this.element.clientHeight + 1 && getComputedStyle(this.element).overflowY !== "visible";
    if (!isOwn) { card.scrollIntoView({ block: "start" }); return; }
    const box = this.element.getBoundingClientRect();
    if (box.top < 0 || box.bottom > innerHeight) this.browser.element.scrollIntoView({ block: "start" });
    this.element.scrollTop += card.getBoundingClientRect().top - this.element.getBoundingClientRect().top - 8;
  }

  /** The step that many places on, among those that are shown. */
  go(by) {
    const places = [...this.cards.keys()];
    if (!places.length) return;
    const next = Math.max(0, Math.min(places.length - 1, places.indexOf(this.step) + by));
    this.select(places[next], { focus: true, scroll: true });
  }

  focus() {
    const card = this.cards.get(this.step);
    if (card) { this.reveal(card); card.focus({ preventScroll: true }); }
  }

  card(step, index, largest) {
    const head = html("div", { class: "head" }, html("span", { class: "number", text: `step ${index + 1}` }), html("span", { class: "action", text: step.action || "(no action could be read)" }));
    const badge = (text, kind, title) => head.append(html("span", { class: `badge ${kind}`, text, title: title || null }));
    if (!step.is_valid) badge("invalid format", "bad");
    else if (!step.is_admissible) badge("inadmissible", "bad");
    if (step.is_repeated) badge("repeated", "warn");
    if (step.is_looped) badge("looped", "warn");
    const said = [];
    for (const [source, name] of Object.entries(LABEL_SOURCES)) {
      const label = step[`label_${source}`];
      if (!isPresent(label)) continue;
      badge(`${name}: ${label === 1 ? "good" : "bad"}`, labelClass(label), `label from the ${name}`);
      said.push(`${label === 1 ? "good" : "bad"} by the ${name}`);
    }
    if (step.reward) badge(`reward ${formatNumber(step.reward)}`, "good");
    if (isPresent(step.advantage)) head.append(advantageBar(step.advantage, largest));
    const status = html("span", { class: "status", role: "status" });
    const link = html("button", { type: "button", class: "link", text: "link", "aria-label": `copy a link to step ${index + 1}`, title: "copy a link to this step" });
    link.addEventListener("click", async () => {
      this.select(index);
      status.textContent = await copyText(this.browser.stepLink());
    });
    head.append(link, status);
    const judgments = step.judgments || [];
    const card = html("article", { class: "step", tabindex: -1, "aria-label": [`step ${index + 1}: ${step.action || "no action"}`, ...said].join(", ") },
      html("p", { class: "observation", text: step.observation }), head,
      html("pre", { class: "response", text: step.response || "(empty response)", title: "the response as it was sampled" }),
      html("div", { class: "more" }, folded("prompt", step.prompt), judgments.length ? judgmentList(judgments) : null));
    card.addEventListener("focusin", (event) => { if (this.step !== index && event.target !== card) this.select(index); });
    card.addEventListener("click", (event) => { if (this.step !== index && !event.target.closest("button")) this.select(index); });
    card.addEventListener("toggle", () => { if (this.step === index) this.browser.paneChanged(this); }, true);
    card.item = this.item;
    return card;
  }
}

function stepLabel(step) { return isPresent(step.label_oracle) ? step.label_oracle : step.label_rule; }
function labelClass(label) { return label === 1 ? "good" : label === 0 ? "bad" : ""; }

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
  const details = html("details", { "data-name": "judgments" }, html("summary", { text: `${text} · ${right} ${match}` }));
  for (const judgment of judgments) {
    const verdict = predicts ? (judgment.reward > 0 ? "true" : "false") : `says ${judgment.verdict}`;
    details.append(html("div", { class: "judgment" },
      html("span", { class: `badge ${judgment.reward > 0 ? "good" : "bad"}`, text: isPresent(judgment.verdict) ? verdict : "unreadable" }),
      html("pre", { text: judgment.response })));
  }
  return details;
}

function folded(title, text) {
  return html("details", { "data-name": title }, html("summary", { text: title }), html("pre", { text: text || "(empty)" }));
}
