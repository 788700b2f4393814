// What the baseline and the picks answer to the same items, those that differ most first.

const ITEMS_SHOWN = 4;

function answersParts(report) {
  const { differences, items } = report.outputs;
  const told = differences.map((text) => el("li", {}, text));
  const [first, rest] = [items.slice(0, ITEMS_SHOWN), items.slice(ITEMS_SHOWN)];
  const nodes = [el("ul", {}, ...told), ...first.map((item) => answersItem(report, item))];
  if (!rest.length) return nodes;
  const more = el("summary", {}, `${rest.length} more`);
  return [...nodes, el("details", {}, more, ...rest.map((item) => answersItem(report, item)))];
}

/** One item: what was asked, what the data says, a row a trial. */
function answersItem(report, item) {
  const { trials, metric } = report.outputs;
  const rows = trials.map((number, place) => {
    const { name } = report.trials.find((trial) => trial.number === number);
    const right = item.right[place];
    const quality = item.quality[place];
    const figure = quality === null ? "-" : figureText(quality);
    const judged = right === null ? figure : right ? "right" : "wrong";
    return [name, item.outputs[place] ?? "-", judged];
  });
  const judged = item.right.every((right) => right === null) ? metric : "";
  if (item.expected) rows.unshift(["the data", item.expected, ""]);
  const asked = el("p", {}, el("span", { class: "quiet" }, `item ${item.item}: `), item.input);
  return el("div", {}, asked, table(["trial", "answer", judged], rows));
}
