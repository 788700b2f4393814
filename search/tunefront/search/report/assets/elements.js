// Elements, words and numbers. Text only ever becomes a text node.

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const byId = (id) => document.getElementById(id);
const three = (number) => String(number).padStart(3, "0");
const numbers = (trials, most = 8) =>
  trials.slice(0, most).map((t) => three(t.number)).join(", ") +
  (trials.length > most ? ` and ${trials.length - most} more` : "");

/** A metric's unit after a space; nothing where its name ends in it. */
function unitText(report, metric) {
  const { unit } = report.metrics[metric];
  return unit && !metric.endsWith(`_${unit.toLowerCase()}`) ? ` ${unit}` : "";
}

/** A choice's value as every other screen writes it; `-` where the choice is not active. */
function choiceText(value) {
  if (value === undefined) return "-";
  return typeof value === "number" && !Number.isInteger(value) ? general(value) : String(value);
}

/** A command with a button that copies it; without the clipboard's API, which a sandbox denies. */
function command(text) {
  const code = el("code", {}, text);
  const button = el("button", { type: "button" }, "copy");
  button.addEventListener("click", () => {
    const area = el("textarea", { class: "aside", "aria-hidden": "true" });
    area.value = text;
    button.after(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    button.focus();
    button.textContent = copied ? "copied" : "select and copy";
    if (!copied) window.getSelection().selectAllChildren(code);
  });
  return el("span", { class: "command" }, code, " ", button);
}

/** A table; cells are texts or nodes. */
function table(header, rows) {
  const head = el("tr", {}, ...header.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  return el(
    "div",
    { class: "wide" },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)),
  );
}

/** Horizontal bars, one a row: [name, share of the longest, text]. */
function bars(rows) {
  const longest = Math.max(...rows.map((row) => row[1]), 1e-12);
  const row = ([name, amount, text]) => {
    const bar = el("span", { class: "bar" });
    bar.style.width = `${(100 * amount) / longest}%`;
    const track = el("td", { class: "track" }, bar);
    return el("tr", {}, el("th", { scope: "row" }, name), track, el("td", {}, text));
  };
  return el("table", { class: "bars" }, el("tbody", {}, ...rows.map(row)));
}

/** `recommended`, `baseline`, `front`, `dominated` or `beyond`, with the limits as they are set. */
function roleOf(view, trial) {
  if (view.picks.length && view.picks[0].trial === trial) return "recommended";
  if (trial.number === 0) return "baseline";
  if (view.onFront.has(trial)) return "front";
  return view.keeps.has(trial) ? "dominated" : "beyond";
}

/** The text for a trial's role under the current limits. */
function roleText(view, trial) {
  if (trial.status === "running") return "running";
  if (!trial.measured) return `failed: ${trial.cause || "unknown"}`;
  const named = view.picks.filter((pick) => pick.trial === trial).map((pick) => pick.name);
  if (!named.length) named.push(...placeOf(view, trial));
  return [...named, ...(trial.reference ? [trial.reference] : [])].join(", ");
}

/** The names of a measured trial's place: `baseline`, `front`, `dominated`, `beyond the limits`. */
function placeOf(view, trial) {
  const beyond = view.keeps.has(trial) ? [] : ["beyond the limits"];
  if (trial.number === 0) return ["baseline", ...beyond];
  return beyond.length ? beyond : [view.onFront.has(trial) ? "front" : "dominated"];
}

/** A trial's trust; its probability to be on the front is valid for the experiment's own limits. */
function trustText(view, trial) {
  if (trial.trust === "none") return "-";
  if (view.moved || trial.chance === null) return trial.trust;
  const condition = trial.trust === "unconfirmed" ? " if confirmed" : "";
  return `${trial.trust}, front ${percent(trial.chance)}${condition}`;
}
