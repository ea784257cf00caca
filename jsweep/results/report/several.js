// The page of several sweeps: a row for each, their means and differences, their curves, their findings.

const add = (kind, text, parent) => {
  const made = document.createElement(kind);
  made.textContent = text;
  parent.append(made);
  return made;
};
const said = (value) => (value === null ? "?" : String(value));

function fillSweeps() {
  byId("title").textContent = content.title;
  byId("subtitle").textContent = `by ${content.metric} (${content.mode})`;
  byId("best-note").textContent = "Each was selected by these scores, so each mean is a little better than the config is; " +
    "js.confirm trains the best under fresh seeds.";
  byId("curves-note").textContent = `${content.metric}: mean over seeds, and a band from the lowest seed to the highest.`;
  byId("difference-note").textContent = "Bars: 95% intervals, paired by seed where sweeps share seeds. " +
    `Below 0 is ${content.mode === "min" ? "better" : "worse"} than the first.`;
  const heads = add("tr", "", byId("sweeps").tHead);
  for (const head of ["", "sweep", content.metric, "seeds", "difference", "95% interval", "how", "config", "record", "trials"]) add("th", head, heads);
  content.sweeps.forEach((sweep, index) => {
    const row = add("tr", "", byId("sweeps").tBodies[0]);
    const [middle, low, high] = sweep.difference ?? ["", "", ""];
    const interval = sweep.difference && low !== null ? `${low} to ${high}` : "";
    const cells = [index + 1, sweep.name, said(sweep.mean), sweep.seeds, said(middle), interval, sweep.how, sweep.config, sweep.store, sweep.about];
    for (const cell of cells) add("td", cell, row).title = cell;
    add("h3", sweep.name, byId("findings"));
    const list = add("ul", "", byId("findings"));
    for (const [seen, advice] of sweep.findings) add("li", `${seen} ${advice}`, list);
    if (!sweep.findings.length) add("li", "Nothing to report.", list);
  });
}

function drawDifferences() {
  const others = content.sweeps.map((sweep, index) => [sweep, index]).filter(([sweep]) => sweep.difference && sweep.difference[0] !== null);
  if (!others.length) return say("differences", "There is no difference to show.");
  const part = (place) => others.map(([{ difference }]) => (difference[place] === null ? 0 : Math.abs(difference[place] - difference[0])));
  return draw("differences", [{
    type: "scatter", mode: "markers", x: others.map(([sweep]) => sweep.difference[0]), y: others.map(([, index]) => `${index + 1}`),
    marker: { color: palette()[0], size: 9 },
    error_x: { type: "data", symmetric: false, array: part(2), arrayminus: part(1), color: style("--quiet"), thickness: 1.2 },
    text: others.map(([sweep]) => plain(`${sweep.name}, ${sweep.how}`)), hovertemplate: "%{text}<br>%{x:.5g}<extra></extra>",
  }], {
    xaxis: { title: { text: plain(`difference in ${content.metric}`) }, zeroline: true, rangemode: "tozero" },
    yaxis: { type: "category", autorange: "reversed", title: { text: "sweep" } },
  });
}

function drawAll() {
  complete = content.sweeps.map((_, index) => index);
  return Promise.all([drawRivals("sweep"), drawDifferences(), drawCurves("curves", complete)]);
}

fillSweeps();
drawAll().then(() => { document.body.dataset.ready = "yes"; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
