"use strict";
// The charts, each drawn from the page's content into the element of an id.

let content = JSON.parse(document.getElementById("content").textContent);
// Okabe and Ito's colours, by day and by night; the order is that of the library's other pictures where it can be.
const DAY = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const NIGHT = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00"];
const DASHES = ["solid", "dash", "dot"];
const MANY = 2000; // points, from which on WebGL draws them
const RIVALS = 25;
const CURVES = 5;
const BINS = 20;
const LINES = 2000; // of the parallel coordinates
const NONE = "none"; // the place of configs without a value
const CIVIDIS = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];
const byId = (id) => document.getElementById(id);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = () => (matchMedia("(prefers-color-scheme: dark)").matches ? NIGHT : DAY);
const finite = (values) => values.filter((value) => value !== null);
// Plotly reads text as a little HTML, so what is not markup has to be escaped.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (text, most = 40) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const webgl = Boolean(document.createElement("canvas").getContext("webgl"));
const better = (a, b) => (content.mode === "max" ? a > b : a < b);
// All configs, those that can be selected, and those that were stopped and have a last score, by their place in the content.
let indices = [], complete = [], stopped = [];

function readConfigs() {
  indices = content.configs.id.map((_, index) => index);
  complete = indices.filter((index) => content.configs.state[index] === 0);
  stopped = indices.filter((index) => content.configs.state[index] === 1 && content.configs.mean[index] !== null);
}

function isLog(values) {
  const known = finite(values);
  return known.length > 1 && known.reduce((a, b) => Math.min(a, b)) > 0 &&
    known.reduce((a, b) => Math.max(a, b)) / known.reduce((a, b) => Math.min(a, b)) > 20;
}

function bounds(values) {
  return finite(values).reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
}

// An axis for values: logarithmic with a tick a decade, or two where it has few, or linear.
function scaleOf(log, values) {
  if (!log) return { type: "linear" };
  const [low, high] = bounds(values);
  return { type: "log", dtick: high / low > 100 ? Math.ceil(Math.log10(high / low) / 6) : "D2", tickformat: "~g" };
}

function draw(id, traces, layout) {
  const place = byId(id);
  if (!place.querySelector(".plot-container")) { place.textContent = ""; place.style.height = ""; }
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true, exponentformat: "power" };
  const shown = {
    font: { color: style("--text"), family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: style("--panel"), plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 16, t: 16, b: 48 },
    uirevision: layout.xaxis?.title?.text ?? id, // a zoom outlives newer content, but not another axis
    hovermode: "closest", legend: { orientation: "h", y: -0.2, traceorder: "normal" }, ...layout,
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
  return Plotly.react(byId(id), traces, shown, { responsive: true, displaylogo: false, displayModeBar: false });
}

function say(id, sentence) {
  const element = byId(id);
  Plotly.purge(element);
  element.style.height = "auto";
  element.textContent = sentence;
}

function fade(colour, opacity) {
  const part = (start) => parseInt(colour.slice(start, start + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
}

function drawRivals(numbered = "rank") {
  const { mean, low, high, text } = content.configs;
  const shown = complete.slice(0, Math.min(RIVALS, text.length));
  if (!shown.length) return say("rivals", "No config is complete, so there is none to compare.");
  const names = shown.map((index) => `${index + 1}`);
  const colours = shown.map((index) => (index < content.contenders ? palette()[0] : style("--quiet")));
  const reach = (side) => shown.map((index) => (side[index] === null ? 0 : Math.abs(side[index] - mean[index])));
  return draw("rivals", [{
    type: "scatter", mode: "markers", x: shown.map((index) => mean[index]), y: names, marker: { color: colours, size: 9 },
    error_x: { type: "data", symmetric: false, array: reach(high), arrayminus: reach(low), color: style("--quiet"), thickness: 1.2 },
    text: shown.map((index) => plain(text[index])), hovertemplate: "%{text}<br>%{x:.5g}<extra></extra>",
  }], {
    xaxis: { title: { text: plain(content.metric) } },
    yaxis: { type: "category", autorange: "reversed", title: { text: numbered } },
  });
}

function bandOf(index, colour, dash = "solid") {
  const [mean, low, high] = content.curves[index];
  const at = content.steps.map((_, place) => place).filter((place) => mean[place] !== null);
  const x = at.map((place) => content.steps[place]);
  const text = plain(content.configs.text[index]);
  const edge = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, x };
  return [
    { ...edge, y: at.map((place) => low[place]) },
    { ...edge, y: at.map((place) => high[place]), fill: "tonexty", fillcolor: fade(colour, 0.18) },
    {
      type: "scatter", mode: x.length > 1 ? "lines" : "markers", x, y: at.map((place) => mean[place]), line: { color: colour, width: 2, dash },
      name: `${index + 1}: ${plain(short(content.configs.text[index]))}`, hovertemplate: `${text}<br>step %{x}: %{y:.5g}<extra></extra>`,
    },
  ];
}

// Curves that end where their configs were stopped, as one line with gaps.
function endedEarly(ended) {
  const points = ended.flatMap((index) => {
    const mean = content.curves[index][0];
    const last = mean.findLastIndex((value) => value !== null);
    return [...content.steps.slice(0, last + 1).map((step, place) => [step, mean[place]]), [null, null]];
  });
  return {
    type: "scatter", mode: "lines+markers", x: points.map(([step]) => step), y: points.map(([, value]) => value), hoverinfo: "skip",
    line: { color: style("--quiet"), width: 1 }, marker: { color: style("--quiet"), size: 3 }, opacity: 0.5, name: `stopped early (${ended.length})`,
  };
}

function drawCurves(id, chosen, ended = []) {
  if (!(chosen.length + ended.length) || !content.steps.length) return say(id, "No config has a curve to show.");
  const bands = chosen.flatMap((index, place) => bandOf(index, palette()[place % DAY.length], DASHES[place % DASHES.length]));
  const traces = ended.length ? [endedEarly(ended), ...bands] : bands;
  const values = [...chosen, ...ended].flatMap((index) => content.curves[index][0]);
  return draw(id, traces, {
    xaxis: { title: { text: "step" } },
    yaxis: { title: { text: plain(content.metric) }, ...scaleOf(isLog(values), values) },
    showlegend: true,
  });
}

function drawScatter() {
  const axis = content.axes[Number(byId("one").value)];
  if (!axis) return say("scatter", "No hyperparameter differs between the configs.");
  const [ended, early] = [complete, stopped].map((configs) => configs.filter((index) => axis.values[index] !== null));
  const many = ended.length + early.length > MANY;
  const place = (index) => (axis.labels ? plain(axis.labels[axis.values[index]]) : axis.values[index]);
  const { mean, rank, step } = content.configs;
  const points = (configs, name, marker, text) => ({
    type: webgl && many ? "scattergl" : "scatter", mode: "markers", name, x: configs.map(place), y: configs.map((index) => mean[index]),
    marker: { size: many ? 4 : 7, opacity: 0.55, ...marker }, text: configs.map(text), hovertemplate: "%{text}<br>%{x}: %{y:.5g}<extra></extra>",
  });
  const traces = [points(ended, "trained to the end", { color: palette()[0] }, (index) => `rank ${rank[index]}`)];
  if (early.length) {
    const marker = { color: style("--quiet"), symbol: "circle-open" };
    traces.unshift(points(early, "stopped early, at the last score", marker, (index) => `stopped at step ${step[index]}`));
  }
  const y = [...ended, ...early].map((index) => mean[index]);
  return draw("scatter", traces, {
    xaxis: { title: { text: plain(short(axis.name)) }, ...(axis.labels ? { type: "category" } : scaleOf(axis.log, axis.values)) },
    yaxis: { title: { text: plain(content.metric) }, ...scaleOf(isLog(y), y) },
    showlegend: early.length > 0,
  });
}

// The cells of an axis: a function from a value to its cell, and the cells' names.
function cellsOf(axis) {
  if (axis.labels) return { names: axis.labels.map((label) => plain(short(label, 24))), of: (value) => value };
  const distinct = [...new Set(finite(axis.values))].sort((a, b) => a - b);
  if (distinct.length <= BINS) {
    const places = new Map(distinct.map((value, place) => [value, place]));
    return { names: distinct.map((value) => value.toPrecision(3)).map(Number).map(String), of: (value) => places.get(value) };
  }
  const scale = axis.log ? Math.log : (value) => value;
  const back = axis.log ? Math.exp : (value) => value;
  const low = scale(distinct[0]);
  const width = (scale(distinct[distinct.length - 1]) - low) / BINS;
  const names = Array.from({ length: BINS }, (_, bin) => `~${Number(back(low + (bin + 0.5) * width).toPrecision(3))}`);
  return { names, of: (value) => Math.min(BINS - 1, Math.floor((scale(value) - low) / width)) };
}

function drawHeat() {
  const [across, up] = ["pair-x", "pair-y"].map((id) => content.axes[Number(byId(id).value)]);
  if (!across || !up || across === up) return say("heat", "Choose two different hyperparameters.");
  const [columns, rows] = [cellsOf(across), cellsOf(up)];
  const z = rows.names.map(() => columns.names.map(() => null));
  for (const index of complete) {
    if (across.values[index] === null || up.values[index] === null) continue;
    const [row, column] = [rows.of(up.values[index]), columns.of(across.values[index])];
    const mean = content.configs.mean[index];
    if (z[row][column] === null || better(mean, z[row][column])) z[row][column] = mean;
  }
  const log = isLog(z.flat());
  const thinned = (cells) => {
    const tickvals = cells.names.map((_, place) => place).filter((place) => place % Math.ceil(cells.names.length / 12) === 0);
    return { tickmode: "array", tickvals, ticktext: tickvals.map((place) => cells.names[place]) };
  };
  const ticks = log ? { tickmode: "array", ...ticksOf(true, z.flat()) } : {};
  return draw("heat", [{
    type: "heatmap", z: log ? z.map((row) => row.map((value) => (value === null ? null : Math.log10(value)))) : z,
    text: z.map((row) => row.map((value) => (value === null ? "" : String(value)))), hovertemplate: "%{text}<extra></extra>",
    colorscale: "Cividis", reversescale: content.mode === "min", hoverongaps: false, xgap: 1, ygap: 1, colorbar: { thickness: 12, ...ticks },
  }], {
    xaxis: { title: { text: plain(short(across.name)) }, ...thinned(columns), showgrid: false, zeroline: false },
    yaxis: { title: { text: plain(short(up.name)) }, ...thinned(rows), showgrid: false, zeroline: false },
  });
}

// Five ticks for values, which are shown as their logarithms or as they are; of few values one each.
function ticksOf(log, values) {
  const distinct = [...new Set(finite(values))].sort((a, b) => a - b);
  const [low, high] = log ? bounds(values).map(Math.log10) : bounds(values);
  if (distinct.length <= 5) return { tickvals: distinct.map((value) => (log ? Math.log10(value) : value)), ticktext: distinct.map(String) };
  const tickvals = [0, 1, 2, 3, 4].map((part) => low + ((high - low) * part) / 4);
  return { tickvals, ticktext: tickvals.map((value) => String(Number((log ? 10 ** value : value).toPrecision(log ? 2 : 3)))) };
}

// The best half of LINES configs and as many of the others, evenly spaced by rank: what the page says it shows.
function sampled(configs) {
  if (configs.length <= LINES) return configs;
  const best = configs.slice(0, LINES / 2), others = configs.slice(LINES / 2);
  return [...best, ...Array.from({ length: LINES / 2 }, (_, place) => others[Math.floor((place * others.length) / (LINES / 2))])];
}

// An axis of parallel coordinates. Configs without a value have a place of their own below all values, or after all labels.
function dimensionOf(axis, shown) {
  const label = plain(short(axis.name, 18));
  const given = shown.map((index) => axis.values[index]);
  const lacking = given.includes(null);
  if (axis.labels) {
    const names = [...axis.labels.map((text) => plain(short(text, 14))), ...(lacking ? [NONE] : [])];
    return { label, values: given.map((value) => value ?? axis.labels.length), tickvals: names.map((_, place) => place), ticktext: names };
  }
  const scaled = given.map((value) => (value === null || !axis.log ? value : Math.log10(value)));
  const [low, high] = finite(scaled).length ? bounds(scaled) : [0, 1];
  const below = low - 0.15 * (high - low || 1);
  const values = scaled.map((value) => value ?? below);
  if (!axis.log && !lacking) return { label, values };
  const ticks = finite(given).length ? ticksOf(axis.log, given) : { tickvals: [], ticktext: [] };
  return lacking
    ? { label, values, tickvals: [below, ...ticks.tickvals], ticktext: [NONE, ...ticks.ticktext] }
    : { label, values, ...ticks };
}

function drawParallel() {
  if (!content.axes.length || !(complete.length + stopped.length)) return say("parallel", "No hyperparameter differs between configs with a score.");
  if (!webgl) return say("parallel", "This chart needs WebGL, which this browser does not have.");
  const shown = sampled([...complete, ...stopped]);
  const early = new Set(stopped);
  const { mean, step } = content.configs;
  const dimensions = content.axes.map((axis) => dimensionOf(axis, shown));
  if (stopped.length) dimensions.push(dimensionOf({ name: "steps trained", values: step, log: isLog(step.filter((each) => each > 0)) && Math.min(...step) > 0 }, shown));
  const scores = shown.map((index) => mean[index]);
  const log = isLog(scores);
  dimensions.push(dimensionOf({ name: content.metric, values: mean, log }, shown));
  byId("parallel").style.minWidth = `${110 * dimensions.length}px`;
  // The largest colour is drawn on top, so the best are to have it. What was stopped early is grey, below all others.
  const signed = scores.map((value) => (log ? Math.log10(value) : value)).map((value) => (content.mode === "min" ? -value : value));
  const [low, high] = bounds(signed.filter((_, place) => !early.has(shown[place])).concat(complete.length ? [] : [0, 1]));
  const span = high - low || 1;
  const floor = low - span / 10;
  const scale = CIVIDIS.map((colour, place) => [1 / 11 + (place / (CIVIDIS.length - 1)) * (10 / 11), colour]);
  return draw("parallel", [{
    type: "parcoords", dimensions, labelfont: { size: 12 },
    line: {
      color: signed.map((value, place) => (early.has(shown[place]) ? floor : value)), cmin: floor, cmax: low + span,
      colorscale: [[0, style("--quiet")], [1 / 11 - 1e-6, style("--quiet")], ...scale],
    },
  }], { margin: { l: 60, r: 60, t: 48, b: 24 } });
}

function drawImportance() {
  const { effects, title } = content.importance;
  if (!effects.length) return say("importance", "");
  return draw("importance", [{
    type: "bar", orientation: "h", y: effects.map((_, place) => place), x: effects.map(([, share]) => share),
    marker: { color: effects.map(([, , single]) => (single ? palette()[0] : style("--quiet"))) },
    text: effects.map(([, share]) => `${(100 * share).toFixed(1)}%`), textposition: "auto", hoverinfo: "skip",
  }], {
    margin: { l: 60, r: 16, t: 8, b: 48 },
    xaxis: { title: { text: plain(title) }, tickformat: ".0%", rangemode: "tozero" },
    yaxis: { tickmode: "array", tickvals: effects.map((_, place) => place), ticktext: effects.map(([name]) => plain(short(name))), autorange: "reversed" },
  });
}

function drawLadder() {
  byId("ladder-section").hidden = !content.ladder.length;
  if (!content.ladder.length) return null;
  return draw("ladder", [{
    type: "bar", orientation: "h", y: content.ladder.map(([step]) => `step ${step}`), x: content.ladder.map(([, count]) => count),
    marker: { color: palette()[0] }, text: content.ladder.map(([, count]) => String(count)), hoverinfo: "skip",
  }], { xaxis: { title: { text: "configs" } }, yaxis: { type: "category", autorange: "reversed" } });
}

function drawLineage() {
  const { names, all, best } = content.lineage;
  if (!names.length) return null;
  const place = byId("lineage-name").selectedIndex;
  const line = ([x, y], color, width, name) => ({ type: "scatter", mode: "lines", x, y, name, line: { color, width }, hoverinfo: "skip" });
  return draw("lineage", [line(all[place], style("--quiet"), 1, "configs"), line(best[place], palette()[0], 3, "what led to the best")], {
    xaxis: { title: { text: "step" } },
    yaxis: { title: { text: plain(short(names[place])) }, ...scaleOf(isLog(all[place][1]), all[place][1]) },
  });
}
