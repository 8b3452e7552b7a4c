"use strict";
// Shows the sampled pairs. Whatever comes from data is set as text, never as HTML.
// On a phone the contents would fill the first screen.
if (window.matchMedia("(max-width: 50rem)").matches) document.querySelector(".contents details").open = false;

(() => {
  const PAGE = 20; // pairs a page
  const NAMES = { error: ["Errors", "wrong"], contradiction: ["Contradictions", "contradiction"],
    flip: ["Flips", "flip"], unreadable: ["Unreadable", "unreadable"] };
  const UNREAD = { no_answer: "gives no answer", bad_label: "answers with something else than a label",
    truncated: "is cut off before its answer" };
  const data = JSON.parse(document.getElementById("payload").textContent);
  const browser = document.getElementById("browser");
  if (!browser) return;
  const chosen = { flag: "", text: "", run: "", source: "", page: 0 };

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  const percent = (share) => `${Math.round(100 * share)}%`;
  const number = (p) => (p === null ? "–" : p.toFixed(2));
  const side = (p) => (p === null ? "none" : p === 0.5 ? "a tie" : p > 0.5 ? "A" : "B");

  for (const pair of data.pairs) {
    const traces = Object.values(pair.judged).flatMap((judged) => judged.rows.map((row) => row.trace));
    pair.text = [pair.prompt, pair.id, pair.category, ...pair.images.map((image) => image.generator), ...traces]
      .join("\n").toLowerCase();
  }

  const runsOf = (pair) => data.runs.filter((run) => run in pair.judged && (!chosen.run || run === chosen.run));
  const has = (pair, flag) => !flag || runsOf(pair).some((run) => pair.judged[run].flags.includes(flag));
  const searched = () => data.pairs.filter((pair) => runsOf(pair).length
    && (!chosen.source || pair.source === chosen.source) && pair.text.includes(chosen.text));

  // --- cards

  function picture(image, letter, preferred) {
    const figure = make("figure", { className: preferred ? "preferred" : "" });
    if (image.picture) {
      const shown = make("img", { src: data.pictures[image.picture], alt: `Image ${letter}` });
      shown.addEventListener("load", () => shown.classList.toggle("small", shown.naturalWidth <= 128));
      figure.append(shown);
    } else {
      figure.append(make("div", { className: "none" }, `Image ${letter} is not here: ${image.reason}`));
    }
    const caption = make("figcaption", {}, make("b", {}, letter));
    if (image.generator) caption.append(` ${image.generator}`);
    if (preferred) caption.append(" (people prefer it)");
    figure.append(caption);
    return figure;
  }

  function vote(pair) {
    const votes = pair.votes ? `${pair.votes} vote${pair.votes === 1 ? "" : "s"}` : "number of votes not told";
    const bar = make("div", { className: "bar", "aria-hidden": "true" }, make("span"), make("span"));
    bar.children[0].style.flex = `${pair.share} 0 0`;
    bar.children[1].style.flex = `${1 - pair.share} 0 0`;
    const plain = !pair.votes && [0, 0.5, 1].includes(pair.share);
    const winner = pair.share === 0.5 ? "People prefer neither" : `People prefer ${pair.share > 0.5 ? "A" : "B"}`;
    const text = plain ? `${winner} (shares of votes not told)` : `People: A ${percent(pair.share)}, B ${percent(1 - pair.share)} (${votes})`;
    return make("div", { className: "vote" }, text, bar);
  }

  function completion(row) {
    const none = row.level ? "rates both alike" : UNREAD[row.outcome] ?? `no answer (${row.outcome})`;
    const answer = row.answer === null ? none : `answers ${row.answer.toUpperCase()}`;
    const summary = make("summary", {}, `${row.first.toUpperCase()} first, rollout ${row.rollout + 1}: ${answer} `);
    const tag = (text, right) => summary.append(make("span", { className: right ? "tag right" : "tag" }, text));
    if (row.answer === null && !row.level) tag("unreadable");
    else if (row.correct !== null) tag(row.correct ? "right" : "wrong", row.correct);
    if (row.contradicts) tag("contradiction");
    if (row.truncated) tag("cut off");
    const told = [`p(A) ${number(row.p)}`, `listener ${number(row.listener)}`];
    if (row.independent !== null) told.push(`independent listener ${number(row.independent)}`);
    told.push(`${row.length} tokens`);
    summary.append(make("span", { className: "numbers" }, told.join(" · ")));
    return make("details", {}, summary, make("div", { className: "trace", tabIndex: 0 }, row.trace || "(no trace)"));
  }

  function judgement(run, judged, tie) {
    const verdict = make("p", {}, `Prefers ${side(judged.p)}, mean p(A) ${number(judged.p)} `);
    if (!tie && !judged.flags.includes("error")) verdict.append(make("span", { className: "tag right" }, "right"));
    for (const flag of judged.flags) verdict.append(make("span", { className: "tag" }, NAMES[flag][1]));
    return make("div", { className: "run" }, make("h4", {}, run), verdict, ...judged.rows.map(completion));
  }

  function card(pair) {
    const facts = [pair.source, pair.id, pair.category].filter(Boolean).join(" · ");
    return make("article", { className: "pair" },
      make("h3", {}, pair.prompt || "(no prompt)"),
      make("p", { className: "facts" }, facts),
      make("div", { className: "sides" },
        picture(pair.images[0], "A", pair.share > 0.5), picture(pair.images[1], "B", pair.share < 0.5)),
      vote(pair),
      ...runsOf(pair).map((run) => judgement(run, pair.judged[run], pair.share === 0.5)));
  }

  // --- controls

  const buttons = new Map();
  const filters = make("div", { role: "group", "aria-label": "Which pairs" });
  for (const flag of ["", ...data.flags]) {
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => choose({ flag }));
    buttons.set(flag, button);
    filters.append(button);
  }
  const search = make("input", { type: "search", id: "search", autocomplete: "off" });
  search.addEventListener("input", () => choose({ text: search.value.trim().toLowerCase() }));

  function selector(name, id, all, options) {
    const select = make("select", { id }, make("option", { value: "" }, all),
      ...options.map((option) => make("option", { value: option }, option)));
    select.addEventListener("change", () => choose({ [id]: select.value }));
    return make("label", {}, name, select);
  }

  const toolbar = make("div", { className: "toolbar" }, filters,
    make("label", {}, "Search in prompts and traces", search));
  const sources = [...new Set(data.pairs.map((pair) => pair.source))];
  if (data.runs.length > 1) toolbar.append(selector("Run", "run", "any run", data.runs));
  if (sources.length > 1) toolbar.append(selector("Source", "source", "all sources", sources));
  const count = make("p", { id: "count", "aria-live": "polite", role: "status" });
  const cards = make("div", { id: "cards" });
  const previous = make("button", { type: "button", id: "previous" }, "Previous");
  const next = make("button", { type: "button", id: "next" }, "Next");
  const place = make("span", { id: "place" });
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  const pager = make("nav", { className: "pager", "aria-label": "Pages of pairs" }, previous, place, next);
  const glossary = make("details", { className: "legend" }, make("summary", {}, "What the words mean"), make("p", {},
    "Error: the soft scores, averaged over rollouts and display orders, name the other image or none. "
    + "Contradiction: a trace states another verdict than its answer. Flip: the two display orders name different "
    + "images. Unreadable: an answer cannot be read. p(A): the probability that image A is better, by the model "
    + "itself, or by a listener that heard the trace; \"A first\" tells which image the model saw first."));
  browser.replaceChildren(toolbar, glossary, count, cards, pager);

  function choose(change) {
    Object.assign(chosen, { page: 0 }, change);
    show();
  }

  function turn(step) {
    chosen.page += step;
    show();
    toolbar.scrollIntoView();
  }

  function show() {
    const found = searched();
    const pairs = found.filter((pair) => has(pair, chosen.flag));
    for (const [flag, button] of buttons) {
      const name = flag ? NAMES[flag][0] : "All";
      button.textContent = `${name} (${found.filter((pair) => has(pair, flag)).length})`;
      button.setAttribute("aria-pressed", String(flag === chosen.flag));
    }
    const pages = Math.max(1, Math.ceil(pairs.length / PAGE));
    const first = chosen.page * PAGE;
    const shown = pairs.slice(first, first + PAGE);
    count.textContent = shown.length
      ? `Showing ${first + 1} to ${first + shown.length} of ${pairs.length} pairs`
      : "No pair is like that; choose another filter or search for less.";
    cards.replaceChildren(...shown.map(card));
    place.textContent = `Page ${chosen.page + 1} of ${pages}`;
    previous.disabled = chosen.page === 0;
    next.disabled = chosen.page >= pages - 1;
    pager.hidden = pages === 1;
  }

  show();
})();
