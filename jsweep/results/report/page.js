// The page: words and choices first, then the charts, again when the colours change or newer content comes.

const POLL_MILLISECONDS = 2000;

function fillWords() {
  for (const id of ["findings", "notes", "replay"]) byId(id).replaceChildren();
  byId("title").textContent = content.title;
  byId("subtitle").textContent = content.subtitle;
  for (const [, seen, advice] of content.findings) element("li", `${seen} ${advice}`, byId("findings"));
  if (!content.findings.length) element("li", "Nothing to report.", byId("findings"));
  byId("best").textContent = content.best ?? "No config is complete, so none is best.";
  byId("rivals-note").textContent = content.contenders > 1
    ? `The seeds cannot tell the first ${content.contenders} configs apart (paired t-tests, 95%, Bonferroni). Bars: 95% intervals of the mean.`
    : "The best config and those behind it. Bars: 95% intervals of the mean.";
  byId("curves-note").textContent = `${content.metric}: mean over seeds, and a band from the lowest seed to the highest.` +
    (stopped.length ? " Grey: configs that were stopped early, to where they ended." : "");
  const scored = complete.length + stopped.length;
  byId("parallel-note").textContent = `Drag along an axis to select configs. Those without a hyperparameter are at "${NONE}".` +
    (stopped.length ? ` ${complete.length} of ${scored} configs trained to the end; the others are grey, at their last scores.` : "") +
    (scored > LINES ? ` Of ${scored} configs it has ${LINES}: the best half of them, and others evenly spaced by rank.` : "");
  for (const note of content.notes) element("li", note, byId("notes"));
}

function fillRun() {
  const body = byId("run").tBodies[0];
  body.replaceChildren();
  byId("ledger").tHead.replaceChildren();
  byId("ledger").tBodies[0].replaceChildren();
  for (const pair of content.environments.flat()) {
    const row = element("tr", "", body);
    for (const cell of pair) element("td", cell, row);
  }
  byId("replay").textContent = content.replay.join("\n") || "No config is complete.";
  byId("ledger-note").textContent = content.ledger.length
    ? "Every look at the test split, oldest first."
    : "The test split has not been looked at.";
  if (!content.ledger.length) return;
  const heads = element("tr", "", byId("ledger").tHead);
  for (const head of ["opened", "sweep", "selected by", "config", "step", "score"]) element("th", head, heads);
  for (const entry of content.ledger) {
    const row = element("tr", "", byId("ledger").tBodies[0]);
    for (const cell of entry) element("td", cell, row);
  }
}

// The hyperparameters to choose from; a choice that was made stays where the new content has it.
function fillChoices() {
  for (const [id, place] of [["one", 0], ["pair-x", 0], ["pair-y", 1]]) {
    const chosen = byId(id).selectedOptions[0]?.textContent;
    byId(id).replaceChildren();
    content.axes.forEach((axis, index) => { element("option", axis.name, byId(id)).value = index; });
    const kept = content.axes.findIndex((axis) => axis.name === chosen);
    byId(id).value = kept >= 0 ? kept : Math.min(place, content.axes.length - 1);
  }
  const chosen = byId("lineage-name").selectedOptions[0]?.textContent;
  byId("lineage-name").replaceChildren();
  content.lineage.names.forEach((name) => { element("option", name, byId("lineage-name")); });
  byId("lineage-name").selectedIndex = Math.max(0, content.lineage.names.indexOf(chosen));
}

function listen() {
  byId("one").addEventListener("change", drawScatter);
  byId("pair-x").addEventListener("change", drawHeat);
  byId("pair-y").addEventListener("change", drawHeat);
  byId("lineage-name").addEventListener("change", drawLineage);
  byId("filter").addEventListener("input", () => refresh());
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  addEventListener("beforeprint", drawForPaper);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

const hasCurve = (index) => index < content.curves.length;

// The charts by the id of their element. Each is drawn when it comes near the window, and from then on with newer content.
const DRAWERS = {
  rivals: () => drawRivals(), importance: drawImportance, scatter: drawScatter, heat: drawHeat, parallel: drawParallel, ladder: drawLadder, lineage: drawLineage,
  curves: () => drawCurves("curves", complete.filter(hasCurve).slice(0, CURVES), stopped.filter(hasCurve)),
};
const near = new Set();

function drawAll() {
  const drawn = [...near].map((id) => DRAWERS[id]());
  if (table.chosen !== null && table.chosen < content.curves.length) drawn.push(drawCurves("own-curve", [table.chosen]));
  return Promise.all(drawn);
}

// Settles when what is near the window at first is drawn.
function drawWhenNear() {
  return new Promise((settle) => {
    const observer = new IntersectionObserver((entries) => {
      const come = entries.filter((entry) => entry.isIntersecting && !near.has(entry.target.id)).map((entry) => entry.target.id);
      for (const id of come) near.add(id);
      settle(Promise.all(come.map((id) => DRAWERS[id]())));
    }, { rootMargin: "300px" });
    for (const id of Object.keys(DRAWERS)) observer.observe(byId(id));
  });
}

function drawForPaper() {
  for (const id of Object.keys(DRAWERS)) near.add(id);
  drawAll();
}

function show() {
  byId("ladder-section").hidden = !content.ladder.length;
  byId("lineage-section").hidden = !content.lineage.names.length;
  byId("lineage-note").textContent = `${content.lineage.copies} times a config went on from a copy of a better one.`;
  byId("importance-note").textContent = content.importance.notes.join(" ");
  readConfigs();
  readColumns();
  fillWords();
  fillRun();
  fillChoices();
  showHeads();
}

// Newer content in place of this one: what is chosen, sorted and filtered stays, by name.
function update(newer) {
  const chosen = table.chosen === null ? null : content.configs.id[table.chosen];
  const sorted = columns[table.column].name;
  content = newer;
  table.chosen = null;
  readColumns();
  table.column = Math.max(0, columns.findIndex((column) => column.name === sorted));
  show();
  const place = chosen === null ? -1 : content.configs.id.indexOf(chosen);
  const pages = Math.ceil(indices.length / ROWS);
  refresh(Math.min(table.page, Math.max(0, pages - 1)));
  byId("own-curve").hidden = true;
  byId("selected").textContent = "";
  if (place >= 0) choose(place);
  return drawAll();
}

// A served page asks for newer content for as long as it is open; a file asks for nothing.
async function follow(address) {
  let version = content.version;
  for (;;) {
    await new Promise((wait) => { setTimeout(wait, POLL_MILLISECONDS); });
    if (document.hidden) continue;
    try {
      const answer = await fetch(`${address}?version=${version}`, { cache: "no-store" });
      if (answer.status === 200) {
        const newer = await answer.json();
        version = newer.version;
        await update(newer);
      }
      byId("live").textContent = answer.ok ? "live" : `the server answers ${answer.status}`;
    } catch { byId("live").textContent = "the server does not answer; these are the last data it gave"; }
  }
}

show();
refresh();
listen();
drawWhenNear().then(() => { document.body.dataset.ready = "yes"; });
if (document.body.dataset.live) follow(document.body.dataset.live);
