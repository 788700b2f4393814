// Outputs of the baseline and the picks for the same items, largest difference first.

const ITEMS_SHOWN = 4;

function outputsParts(report) {
  const { differences, items } = report.outputs;
  const lines = differences.map((text) => el("li", {}, text));
  const [first, rest] = [items.slice(0, ITEMS_SHOWN), items.slice(ITEMS_SHOWN)];
  const nodes = [el("ul", {}, ...lines), ...first.map((item) => outputsItem(report, item))];
  if (!rest.length) return nodes;
  const more = el("summary", {}, `${rest.length} more`);
  return [...nodes, el("details", {}, more, ...rest.map((item) => outputsItem(report, item)))];
}

/** One item: its input, the expected output, and one row per trial. */
function outputsItem(report, item) {
  const { trials, metric } = report.outputs;
  const rows = trials.map((number, place) => {
    const { name } = report.trials.find((trial) => trial.number === number);
    const right = item.right[place];
    const quality = item.quality[place];
    const shown = quality === null ? "-" : numberText(quality);
    const grade = right === null ? shown : right ? "right" : "wrong";
    return [name, item.outputs[place] ?? "-", grade];
  });
  const grade = item.right.every((right) => right === null) ? metric : "";
  if (item.expected) rows.unshift(["the data", item.expected, ""]);
  const input = el("p", {}, el("span", { class: "quiet" }, `item ${item.item}: `), item.input);
  return el("div", {}, input, table(["trial", "output", grade], rows));
}
