// Latency under load: against throughput over the load levels, and its distribution.

/** A chart for each latency: a line for each trial through its load levels, and the SLO. */
function loadParts(report, width) {
  return report.loads.map((chart) => {
    const values = chart.lines.flatMap((line) => line.points);
    const latencies = values.map(([, , latency]) => latency);
    if (chart.bound !== null) latencies.push(chart.bound);
    const across = { label: chart.across, values: values.map(([, rate]) => rate) };
    const drawn = framed(width, LOAD_HEIGHT, across, { label: chart.up, values: latencies });
    const { x, y } = drawn;
    const taken = [];
    const lines = chart.lines.map((line) => {
      const places = line.points.map(([level, rate, latency]) => [x.at(rate), y.at(latency), level]);
      const end = places[places.length - 1];
      const text = placed(end, `${three(line.trial)} @${end[2]}`, drawn.frame.right, taken);
      return trialLine(report, line, places, (level) => `load ${level}`, text);
    });
    const label = `${chart.metric} against throughput over the load levels of ${lines.length} trials`;
    return loadPicture(chart.metric, label, width, drawn, lines, chart.bound, "y");
  });
}

/** A chart for each latency and load level: the share of requests or tokens up to each value. */
function distributionParts(report, width) {
  return report.distributions.map((chart) => {
    const values = chart.lines.flatMap((line) => line.points.map(([value]) => value));
    if (chart.bound !== null) values.push(chart.bound);
    const up = { label: chart.up, values: [0, 100] };
    const drawn = framed(width, LOAD_HEIGHT, { label: chart.across, values }, up);
    const { x, y } = drawn;
    const half = ({ points }) => points[Math.floor(points.length / 2)][0];
    const ordered = [...chart.lines].sort((one, other) => half(one) - half(other));
    const lines = chart.lines.map((line) => {
      const places = line.points.map(([value, share]) => [x.at(value), y.at(share), share]);
      const lower = ordered.indexOf(line) % LABELS_APART;
      const [left, top] = places[Math.max(0, Math.floor(places.length / 2) - lower)];
      const text = { x: left - 6, y: top + 4, end: true, label: three(line.trial) };
      return trialLine(report, line, places, (share) => `${share} %`, text);
    });
    const label = `distribution of ${chart.metric} of ${lines.length} trials`;
    return loadPicture(chart.metric, label, width, drawn, lines, chart.bound, "x");
  });
}

const LOAD_HEIGHT = 300;
const LABEL_HEIGHT = 12;
const LABELS_APART = 4; // labels of neighbouring lines stand at other heights

/** The place of a label at a point: left above it, right below it, or further above, clear of others. */
function placed([x, y], label, right, taken) {
  const width = 6 * label.length;
  const meets = (one) => (other) =>
    one.from < other.to && other.from < one.to && Math.abs(one.y - other.y) < LABEL_HEIGHT;
  const above = (lines) => ({ from: x - 6 - width, to: x - 6, x: x - 6, y: y - 6 - 6 * lines, end: true });
  const below = { from: x + 7, to: x + 7 + width, x: x + 7, y: y + 14, end: false };
  const others = [1, 2, 3, 4, 5, 6].map(above);
  const places = [above(0), ...(below.to < right ? [below] : []), ...others];
  const found = places.find((one) => !taken.some(meets(one))) || above(0);
  taken.push(found);
  return { ...found, label };
}

/** A line with a mark at each place and the trial's number next to it. */
function trialLine(report, { trial, role }, places, titled, { x, y, end, label }) {
  const { name } = report.trials.find(({ number }) => number === trial);
  const path = places.map(([left, top]) => `${left} ${top}`).join("L");
  const marks = places.map(([cx, cy, what]) => {
    const mark = svg("circle", { cx, cy, r: 3, class: `mark ${role}` });
    mark.append(svg("title", {}, `${name}, ${titled(what)}`));
    return mark;
  });
  const curve = svg("path", { class: `curve ${role}`, d: `M${path}` });
  const text = svg("text", { x, y, class: end ? "tick end over" : "tick over" }, label);
  return { line: svg("g", {}, curve, ...marks), text };
}

/** The picture with the SLO as a line across the axis of the latency. */
function loadPicture(title, label, width, { x, y, frame, axes }, lines, bound, axis) {
  const slo = [];
  if (bound !== null) {
    const up = axis === "y";
    const at = up ? y.at(bound) : x.at(bound);
    const d = up ? `M${frame.left} ${at}H${frame.right}` : `M${at} ${frame.top}V${frame.bottom}`;
    const turned = !up && at > (frame.left + frame.right) / 2;
    const place = up ? { x: frame.left + 4, y: at - 4 } : { x: at + 4, y: frame.bottom - 6 };
    if (turned) place.x = at - 4;
    slo.push(svg("path", { class: "limit", d }));
    slo.push(svg("text", { ...place, class: turned ? "tick end over" : "tick over" }, `SLO ${bound} ms`));
  }
  const shape = { viewBox: `0 0 ${width} ${LOAD_HEIGHT}`, width, height: LOAD_HEIGHT, role: "img" };
  const picture = svg("svg", { ...shape, "aria-label": label }, axes, ...slo);
  picture.append(...lines.map(({ line }) => line), ...lines.map(({ text }) => text));
  return el("div", {}, el("h3", {}, title), picture);
}
