// How the search went: what matters, the front's growth, time, failures, machine and protocol.

function importanceParts(report) {
  return report.importance.map(({ objective, text, shares }) => {
    const rows = shares.map(([name, share]) => [name, share, percent(share)]);
    const shown = rows.length ? bars(rows) : null;
    return el("div", {}, el("h3", {}, objective), shown, el("p", { class: "quiet" }, text));
  });
}

const IMPORTANCE =
  "How much of an objective's differences hangs on a choice, alone or together with others: how " +
  "much worse a model predicts trials that it has not seen when the choice's values are shuffled. " +
  "Shares add up to more than 100 % where choices work together, or were tried together.";

/** The hypervolume's history: a line of steps, and when it was nearly whole. */
function historyPart(report, width) {
  const title = el("h3", {}, "How the front grew");
  if (!report.history.length) return [title, el("p", {}, "No trial meets the limits.")];
  const last = report.trials[report.trials.length - 1].number;
  const nearly = report.history.find(([, share]) => share >= 0.99)[0];
  const height = 240;
  const across = { label: "trial", values: [0, Math.max(last, 1)] };
  const plane = framed(width, height, across, { label: "share of the hypervolume", values: [0, 1] });
  const { x, y } = plane;
  const steps = report.history.map(([number, share]) => `H${x.at(number)}V${y.at(share)}`);
  const path = `M${x.at(0)} ${y.at(0)}${steps.join("")}H${x.at(last)}`;
  const text = `99 % of what the front came to was there after trial ${three(nearly)}.`;
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text },
    plane.axes,
    svg("path", { class: "line", d: path }),
  );
  const how = "Hypervolume of the trials within the experiment's limits, over that of all of them.";
  return [title, picture, el("p", { class: "quiet" }, `${text} ${how}`)];
}

/** What trials took over what was expected. */
function pacePart(report, width) {
  const title = el("h3", {}, "Expected and actual time of trials");
  const timed = report.trials.filter((t) => t.measured && t.expected_s && t.seconds);
  if (!report.pace || !timed.length) return [title, el("p", {}, "No trial has an expected time.")];
  const height = 240;
  const both = timed.flatMap((t) => [t.expected_s, t.seconds]);
  const across = { label: "expected, s", values: both };
  const plane = framed(width, height, across, { label: "actual, s", values: both });
  const { x, y } = plane;
  const low = Math.max(x.low, y.low);
  const high = Math.min(x.high, y.high);
  const same = `M${x.at(low)} ${y.at(low)}L${x.at(high)} ${y.at(high)}`;
  const dot = (t) =>
    svg("circle", { cx: x.at(t.expected_s), cy: y.at(t.seconds), r: 3, class: "mark dominated" });
  const { median, low: least, high: most, trials } = report.pace;
  const text =
    `Half of ${trials} trials took less than ${numberText(median)} times what was expected, ` +
    `nine in ten ${numberText(least)} to ${numberText(most)} times.`;
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text },
    plane.axes,
    svg("path", { class: "limit", d: same }),
    ...timed.map(dot),
  );
  return [title, picture, el("p", { class: "quiet" }, text)];
}

/** A chart for each metric that trials reported by step: a line for each trial. */
function curveParts(report, width) {
  const height = 240;
  return report.curves.map(({ metric, lines }) => {
    const points = lines.flatMap((line) => line.points);
    const across = { label: "step", values: points.map(([step]) => step) };
    const up = { label: metric, values: points.map(([, value]) => value) };
    const { x, y, axes } = framed(width, height, across, up);
    const path = ({ trial, role, points: own }) => {
      const steps = own.map(([step, value]) => `${x.at(step)} ${y.at(value)}`);
      const name = report.trials.find(({ number }) => number === trial).name;
      const line = svg("path", { class: `curve ${role}`, d: `M${steps.join("L")}` });
      line.append(svg("title", {}, name));
      return line;
    };
    const label = `${metric} by step of ${lines.length} trials`;
    const shape = { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" };
    const picture = svg("svg", { ...shape, "aria-label": label }, axes, ...lines.map(path));
    return el("div", {}, el("h3", {}, metric), picture);
  });
}

function stagesPart(report) {
  const title = el("h3", {}, "Time by stage");
  if (!report.stages.length) return [title, el("p", {}, "No trial has ended.")];
  const all = report.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const rows = report.stages.map(({ stage, seconds }) => {
    const share = all > 0 ? seconds / all : 0;
    return [stage, seconds, `${durationText(seconds)} (${percent(share)})`];
  });
  const text = `${durationText(all)} of all trials together, confirmation not counted.`;
  return [title, bars(rows), el("p", { class: "quiet" }, text)];
}

function failureParts(report, open) {
  const parts = [];
  if (report.failures.length) {
    const rows = report.failures.map((f) => {
      const more = f.messages > 1 ? ` (and ${f.messages - 1} other messages)` : "";
      return [f.stage, f.cause, trialButtons(f.trials, open), f.message + more];
    });
    parts.push(el("h3", {}, "Failed"), table(["stage", "cause", "trials", "message"], rows));
  } else parts.push(el("p", {}, "No trial failed."));
  if (report.inferred_failures.length) {
    const items = report.inferred_failures.map((failure) => el("li", {}, failure));
    parts.push(el("h3", {}, "Inferred failures"), el("ul", {}, ...items));
  }
  if (report.dropped.length) {
    const { configurations, runnable } = report.space;
    const text = `${configurations} configurations, of which ${runnable} can run here.`;
    const rows = report.dropped.map((d) => [String(d.count), d.reason, d.values]);
    const header = ["configurations", "reason", "at"];
    parts.push(el("h3", {}, "Left out before the first trial"), el("p", {}, text));
    parts.push(table(header, rows));
  }
  return parts;
}

/** Numbers of trials that open them. */
function trialButtons(trials, open, most = 20) {
  const buttons = trials.slice(0, most).map((number) => {
    const button = el("button", { type: "button", class: "sort" }, three(number));
    button.addEventListener("click", () => open(number, button));
    return button;
  });
  const rest = trials.length > most ? `and ${trials.length - most} more` : "";
  return el("span", { class: "numbers" }, ...buttons, rest);
}

function protocolParts(report) {
  const fixed = Object.entries(report.fixed).map(([name, value]) => `${name} ${value}`);
  const rows = [...report.machine, ...report.protocol];
  if (fixed.length) rows.push(["the same in all trials", fixed.join(", ")]);
  const lines = rows.map(([name, text]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, text)),
  );
  return [el("div", { class: "wide" }, el("table", {}, el("tbody", {}, ...lines)))];
}
