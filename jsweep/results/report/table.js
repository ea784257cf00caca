// The table of configs: sorted by a column, filtered by words and comparisons, a page at a time.

const ROWS = 25;
const STATES = ["complete", "stopped", "incomplete"];
const cellText = (value) => (value === null || value === undefined ? "" : String(value));
let columns = [];
const table = { rows: [], column: 0, descending: false, page: 0, chosen: null };

function readColumns() {
  columns = [
    { name: "rank", numeric: true, of: (index) => content.configs.rank[index] },
    { name: content.metric, numeric: true, of: (index) => content.configs.mean[index] },
    { name: "std", numeric: true, of: (index) => content.configs.std[index] },
    { name: "seeds", numeric: true, of: (index) => content.configs.seeds[index] },
    { name: "step", numeric: true, of: (index) => content.configs.step[index] },
    { name: "state", numeric: false, of: (index) => STATES[content.configs.state[index]] },
    ...content.axes.map((axis) => ({
      name: axis.name, numeric: !axis.labels,
      of: (index) => (axis.labels && axis.values[index] !== null ? axis.labels[axis.values[index]] : axis.values[index]),
    })),
    { name: "config", numeric: false, of: (index) => content.configs.id[index] },
  ];
}

// A word of the filter as a test of a config: name=value, name<value, name>value, or text that a cell contains.
function testOf(word) {
  const found = word.match(/^(.+?)(=|<|>)(.+)$/);
  const column = found && columns.find((each) => each.name === found[1]);
  if (!column) return (index) => columns.some((each) => cellText(each.of(index)).toLowerCase().includes(word.toLowerCase()));
  const [, , sign, wanted] = found;
  if (sign === "=") {
    const equal = (value) => cellText(value) === wanted || (column.numeric && value !== null && value === Number(wanted));
    return (index) => equal(column.of(index));
  }
  const bound = Number(wanted);
  return (index) => {
    const value = column.of(index);
    return column.numeric && value !== null && (sign === "<" ? value < bound : value > bound);
  };
}

function compareBy(column, descending) {
  const sign = descending ? -1 : 1;
  return (a, b) => {
    const [left, right] = [column.of(a), column.of(b)];
    if (left === null || right === null) return (left === null) - (right === null) || a - b; // the missing come last
    return sign * (column.numeric ? left - right : left.localeCompare(right)) || a - b;
  };
}

function refresh(page = 0) {
  const words = byId("filter").value.split(/\s+/).filter(Boolean).map(testOf);
  table.rows = indices.filter((index) => words.every((test) => test(index))).sort(compareBy(columns[table.column], table.descending));
  table.page = page;
  showRows();
}

function element(kind, text, parent, name = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function showRows() {
  const body = byId("configs").tBodies[0];
  body.replaceChildren();
  for (const index of table.rows.slice(table.page * ROWS, (table.page + 1) * ROWS)) {
    const row = element("tr", "", body, index === table.chosen ? "chosen" : "");
    row.tabIndex = 0;
    row.dataset.index = index;
    for (const column of columns) {
      const text = cellText(column.of(index));
      element("td", text, row, column.numeric ? "number" : "").title = text;
    }
    row.addEventListener("click", () => choose(index));
    row.addEventListener("keydown", (event) => event.key === "Enter" && choose(index));
  }
  const pages = Math.max(1, Math.ceil(table.rows.length / ROWS));
  byId("shown").textContent = `${table.rows.length} of ${indices.length} configs`;
  byId("pager").textContent = `page ${table.page + 1} of ${pages}`;
  byId("back").disabled = table.page === 0;
  byId("next").disabled = table.page + 1 >= pages;
}

function showHeads() {
  byId("configs").tHead.replaceChildren();
  const row = element("tr", "", byId("configs").tHead);
  columns.forEach((column, place) => {
    const head = element("th", "", row, column.numeric ? "number" : "");
    const button = element("button", column.name, head);
    button.type = "button";
    if (place === table.column && (place || table.descending)) head.setAttribute("aria-sort", table.descending ? "descending" : "ascending");
    button.addEventListener("click", () => {
      table.descending = table.column === place && !table.descending;
      table.column = place;
      for (const each of row.cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", table.descending ? "descending" : "ascending");
      refresh();
    });
  });
}

function turn(pages) {
  table.page += pages;
  showRows();
}

function choose(index) {
  table.chosen = index;
  showRows();
  const hasCurve = index < content.curves.length;
  byId("selected").textContent = hasCurve
    ? `Rank ${index + 1}: ${content.configs.text[index]}`
    : `Rank ${content.configs.rank[index]}: the page has the curves of the best ${content.curves.length} configs only.`;
  byId("own-curve").hidden = !hasCurve;
  // The row is marked at once, and its curve drawn after that.
  if (hasCurve) requestAnimationFrame(() => setTimeout(() => table.chosen === index && drawCurves("own-curve", [index])));
}
