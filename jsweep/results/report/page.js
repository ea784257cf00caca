// The page: words and choices first, then the charts, again when the colours change.

function fillWords() {
  byId("title").textContent = content.title;
  byId("subtitle").textContent = content.subtitle;
  for (const [, seen, advice] of content.findings) element("li", `${seen} ${advice}`, byId("findings"));
  if (!content.findings.length) element("li", "Nothing to report.", byId("findings"));
  byId("best").textContent = content.best ?? "No config is complete, so none is best.";
  byId("rivals-note").textContent = content.contenders > 1
    ? `The seeds cannot tell the first ${content.contenders} configs apart (paired t-tests, 95%, Bonferroni). Bars: 95% intervals of the mean.`
    : "The best config and those behind it. Bars: 95% intervals of the mean.";
  byId("curves-note").textContent = `${content.metric}: mean over seeds, and a band from the lowest seed to the highest.`;
  byId("parallel-note").textContent = "Drag along an axis to select configs. Those without a hyperparameter are at its lower end.";
  for (const note of content.notes) element("li", note, byId("notes"));
}

function fillRun() {
  const body = byId("run").tBodies[0];
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

function fillChoices() {
  for (const [id, place] of [["one", 0], ["pair-x", 0], ["pair-y", 1]]) {
    content.axes.forEach((axis, index) => { element("option", axis.name, byId(id)).value = index; });
    byId(id).value = Math.min(place, content.axes.length - 1);
  }
  byId("one").addEventListener("change", drawScatter);
  byId("pair-x").addEventListener("change", drawHeat);
  byId("pair-y").addEventListener("change", drawHeat);
  byId("filter").addEventListener("input", refresh);
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
}

function drawAll() {
  const best = complete.filter((index) => index < content.curves.length).slice(0, CURVES);
  const drawn = [drawRivals(), drawCurves("curves", best), drawScatter(), drawHeat(), drawParallel(), drawLadder()];
  if (table.chosen !== null && table.chosen < content.curves.length) drawn.push(drawCurves("own-curve", [table.chosen]));
  return Promise.all(drawn);
}

fillWords();
fillRun();
fillChoices();
showHeads();
showRows();
drawAll().then(() => { document.body.dataset.ready = "yes"; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
