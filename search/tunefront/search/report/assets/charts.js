// The front of two objectives as a picture.

const REACH = 24; // pixels around the pointer in which a trial is found
const BARS = 60; // so many trials all show their intervals; of more, those that count
const LONGEST_BAR = 1.2; // parts of an axis' range that intervals may widen it by, on either side
const COUNTED = ["front", "baseline", "recommended"];
const BAND = 12; // ties that a band reaches to, the nearest ones
const MARKS = { beyond: 3, dominated: 3, front: 5, baseline: 4.5, recommended: 9 };
const PLACES = [5, -13, 18, -26, 31, -39, 44].flatMap((y) =>
  [8, -8, 0].filter((x) => x || Math.abs(y) > 13).map((x) => [x, y]),
);

/** An axis of a metric: where a trial is on it, how far its interval reaches. */
function metricAxis(report, metric) {
  const { sign } = report.metrics[metric];
  const unit = unitText(report, metric);
  const better = sign > 0 ? "less" : "more";
  return {
    metric,
    sign,
    label: `${metric}${unit && ","}${unit} (${better} is better)`,
    of: (trial) => valueOf(trial, metric),
    bars: (trial) => trial.bars[metric] || [0, 0],
  };
}

/** The axis of a search with one objective: the trials in their order. */
const orderAxis = { metric: "", sign: 1, label: "trial", of: (t) => t.number, bars: () => [0, 0] };

/** What an axis has to hold: the trials, and the intervals of those that count, if not too long. */
function valuesOn(view, axis, trials) {
  const values = trials.map(axis.of);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = LONGEST_BAR * (most - least);
  for (const trial of trials) {
    if (!COUNTED.includes(roleOf(view, trial))) continue;
    const [below, above] = axis.bars(trial);
    const low = Math.max(axis.of(trial) - below, least - room);
    if (least <= 0 || low > 0) values.push(low);
    values.push(Math.min(axis.of(trial) + above, most + room));
  }
  return values;
}

/** The pairs of axes to draw. */
function pairsOf(report) {
  const axes = report.objectives.map((objective) => metricAxis(report, objective.metric));
  if (axes.length === 1) return [[orderAxis, axes[0]]];
  return axes.flatMap((x, i) => axes.slice(i + 1).map((y) => [x, y]));
}

/** The front of two objectives; it calls `hands` to show a trial, to keep it open, to leave it. */
class PairPicture {
  constructor(report, [x, y], hands) {
    Object.assign(this, { report, x, y, hands });
    this.current = -1;
    this.points = [];
    this.marked = svg("g", {});
    const label = `${y.label} over ${x.label}; arrows move along the trials, Enter keeps one open`;
    const attributes = { tabindex: 0, role: "application", "aria-label": label, class: "pair" };
    this.node = svg("svg", attributes);
    this.node.addEventListener("pointermove", (event) => this.point(event));
    this.node.addEventListener("pointerleave", () => hands.leave());
    this.node.addEventListener("click", (event) => {
      if (this.point(event)) hands.keep(this.node);
      else hands.close();
    });
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("blur", () => hands.leave());
  }

  draw(view, width) {
    const height = Math.max(260, Math.min(420, 0.72 * width));
    const { x, y } = this;
    const trials = this.report.trials.filter((trial) => trial.measured);
    const shown = trials.filter((trial) => view.framed.has(trial));
    const seen = (axis) => ({ label: axis.label, values: valuesOn(view, axis, shown) });
    this.plane = framed(width, height, seen(x), seen(y));
    const { frame } = this.plane;
    this.taken = [];
    const places = trials.map((trial) => this.placed(view, trial));
    const inside = places.filter((p) => insideOf(frame, p));
    const order = Object.keys(MARKS);
    inside.sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
    this.points = [...inside].sort((a, b) => a.left - b.left || a.top - b.top);
    const clip = `clip-${x.metric}-${y.metric}`.replace(/\W/g, "-");
    const area = { x: frame.left, y: frame.top };
    Object.assign(area, { width: frame.right - area.x, height: frame.bottom - area.y });
    const drawn = svg(
      "g",
      { "clip-path": `url(#${clip})` },
      ...this.beyond(view, area),
      this.bands(view, inside),
      this.edge(view),
      ...inside.filter((p) => this.hasBars(view, p)).map((p) => this.interval(p)),
    );
    this.node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.node.setAttribute("width", width);
    this.node.setAttribute("height", height);
    this.node.replaceChildren(
      svg("clipPath", { id: clip }, svg("rect", area)),
      this.plane.axes,
      drawn,
      ...inside.map((p) => marker(p)),
      ...this.names(view, inside, frame),
      this.note(places.length - inside.length, frame),
      this.marked,
    );
    this.mark(null, []);
  }

  placed(view, trial) {
    const left = this.plane.x.at(this.x.of(trial));
    return { trial, left, top: this.plane.y.at(this.y.of(trial)), role: roleOf(view, trial) };
  }

  note(count, frame) {
    if (!count) return null;
    const text = `${count} outside`;
    return svg("text", { x: frame.right, y: frame.top - 6, class: "tick end" }, text);
  }

  /** What is beyond a limit, shaded; of a loss of quality, on the axis of the quality itself. */
  beyond(view, area) {
    const parts = [];
    const { x, y } = this.plane;
    for (const limit of view.limits) {
      const text = limitText(limit);
      const across = boundOn(this.report, this.x, limit);
      const up = boundOn(this.report, this.y, limit);
      if (across) parts.push(...shaded(area, x, true, across, text));
      if (up) parts.push(...shaded(area, y, false, up, text));
      if (up) this.taken.push(box(area.x, y.at(up.bound) - 15, 6 * text.length, 15));
    }
    return parts;
  }

  /** Bands from trials on the front, or picked, to those tied with them. */
  bands(view, inside) {
    const place = new Map(inside.map((p) => [p.trial, p]));
    const lines = [];
    for (const one of [...new Set([...view.front, ...view.picks.map((pick) => pick.trial)])]) {
      const own = place.get(one);
      if (!own) continue;
      const ties = view.ties(one).map((trial) => place.get(trial)).filter(Boolean);
      ties.sort((a, b) => away(own, a) - away(own, b));
      const line = (p) => `M${own.left} ${own.top}L${p.left} ${p.top}`;
      lines.push(...ties.slice(0, BAND).map(line));
    }
    return svg("g", { class: "ties" }, lines.length ? svg("path", { d: lines.join("") }) : null);
  }

  /** A line along the trials that no other dominates in these two metrics. */
  edge(view) {
    const trials = view.front;
    if (trials.length < 2 || !this.x.metric) return null;
    const costs = trials.map((t) => [this.x.sign * this.x.of(t), this.y.sign * this.y.of(t)]);
    const on = nondominated(costs);
    const points = trials
      .filter((_, i) => on[i])
      .map((t) => [this.plane.x.at(this.x.of(t)), this.plane.y.at(this.y.of(t))])
      .sort((a, b) => a[0] - b[0]);
    const step = ([left, top]) => (this.x.sign < 0 ? `V${top}H${left}` : `H${left}V${top}`);
    const path = `M${points[0].join(" ")}${points.slice(1).map(step).join("")}`;
    return svg("path", { class: "edge", d: path });
  }

  hasBars(view, place) {
    return COUNTED.includes(place.role) || (place.role !== "beyond" && view.keeps.size <= BARS);
  }

  interval({ trial, left, top, role }) {
    const [x, y] = [this.x.of(trial), this.y.of(trial)];
    const [[less, more], [below, above]] = [this.x.bars(trial), this.y.bars(trial)];
    const across = `M${this.plane.x.at(x - less)} ${top}H${this.plane.x.at(x + more)}`;
    const up = `M${left} ${this.plane.y.at(y - below)}V${this.plane.y.at(y + above)}`;
    return svg("path", { class: `interval ${role}`, d: across + up });
  }

  /** The baseline and the picks by name, where they hide neither each other nor the front. */
  names(view, inside, frame) {
    const named = new Map();
    for (const pick of [...view.picks].reverse()) named.set(pick.trial, pick.name);
    const counted = inside.filter((p) => COUNTED.includes(p.role));
    const taken = [...this.taken, ...counted.map((p) => box(p.left - 4, p.top - 4, 8, 8))];
    const parts = [];
    for (const p of inside) {
      if (!named.has(p.trial) && p.trial.number !== 0) continue;
      const text = `${three(p.trial.number)} ${named.get(p.trial) || "baseline"}`;
      const boxes = PLACES.map(([x, y]) => nameBox(p, x, y, 6.2 * text.length));
      const costs = boxes.map((b) => {
        const covered = taken.reduce((sum, other) => sum + overlap(b, other), 0);
        return covered + b.width * b.height - overlap(b, boxOf(frame));
      });
      const chosen = boxes[costs.indexOf(Math.min(...costs))];
      taken.push(chosen);
      const near = Math.max(chosen.x, Math.min(p.left, chosen.x + chosen.width));
      const level = p.top < chosen.y ? chosen.y : chosen.y + chosen.height;
      const lead = `M${p.left} ${p.top}L${near} ${level}`;
      if (away(p, { left: near, top: level }) > 14) parts.push(svg("path", { class: "lead", d: lead }));
      parts.push(svg("text", { x: chosen.x, y: chosen.y + 10, class: "name" }, text));
    }
    return parts;
  }

  /** Rings around a trial and those tied with it. */
  mark(trial, ties) {
    const parts = [];
    for (const p of this.points) {
      if (p.trial !== trial && !ties.includes(p.trial)) continue;
      const own = p.trial === trial;
      if (own) parts.push(this.interval(p));
      const ring = { cx: p.left, cy: p.top, r: own ? 11 : 8, class: own ? "ring" : "ring tie" };
      parts.push(svg("circle", ring));
    }
    this.marked.replaceChildren(...parts);
  }

  /** The trial nearest to the pointer. */
  point(event) {
    const frame = this.node.getBoundingClientRect();
    const spot = { left: event.clientX - frame.left, top: event.clientY - frame.top };
    const near = this.points.filter((p) => away(p, spot) <= REACH);
    if (!near.length) {
      this.hands.leave();
      return false;
    }
    this.show(firstLeast(near, (p) => away(p, spot)));
    return true;
  }

  show(place) {
    this.current = this.points.indexOf(place);
    const frame = this.node.getBoundingClientRect();
    const spot = { left: frame.left + place.left, top: frame.top + place.top };
    this.hands.show(place.trial, spot);
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const last = this.points.length - 1;
    if (event.key === "Enter" || event.key === " ") this.hands.keep(this.node);
    else if (last < 0) return;
    else if (step) this.show(this.points[Math.max(0, Math.min(last, this.current + step))]);
    else if (event.key === "Home") this.show(this.points[0]);
    else if (event.key === "End") this.show(this.points[last]);
    else return;
    event.preventDefault();
  }
}

/** A limit's bound on an axis, with its test; null where the axis shows another metric. */
function boundOn(report, axis, limit) {
  if (axis.metric === limit.metric) return limit;
  const { quality, loss } = report.rules;
  if (limit.metric !== loss || axis.metric !== quality || report.baseline === null) {
    return null;
  }
  const base = valueOf(report.trials[report.baseline], quality);
  const { sign } = report.metrics[quality];
  const bound = base + (sign * Math.abs(base) * limit.bound) / 100;
  return { metric: quality, test: sign > 0 ? limit.test : mirrored(limit.test), bound };
}

const mirrored = (test) => (test === "<=" ? ">=" : "<=");

function shaded(area, scale, across, { bound, test }, text) {
  const start = across ? area.x : area.y + area.height;
  const end = across ? area.x + area.width : area.y;
  const [low, high] = [Math.min(start, end), Math.max(start, end)];
  const at = Math.max(low, Math.min(high, scale.at(bound)));
  const to = test === "<=" ? end : start;
  const [from, size] = [Math.min(at, to), Math.abs(to - at)];
  const rect = across ? { ...area, x: from, width: size } : { ...area, y: from, height: size };
  const line = across
    ? `M${at} ${area.y}V${area.y + area.height}`
    : `M${area.x} ${at}H${area.x + area.width}`;
  const parts = [svg("rect", { ...rect, class: "beyond-limit" })];
  if (at > low && at < high) {
    parts.push(svg("path", { class: "limit", d: line }));
    const spot = across
      ? { transform: `translate(${at - 4} ${area.y + area.height - 4}) rotate(-90)` }
      : { x: area.x + 4, y: at - 4 };
    parts.push(svg("text", { ...spot, class: "tick" }, text));
  }
  return parts;
}

function marker({ left, top, role }) {
  const size = MARKS[role];
  if (role === "baseline") {
    const square = { x: left - size, y: top - size, width: 2 * size, height: 2 * size };
    return svg("rect", { ...square, class: `mark ${role}` });
  }
  if (role !== "recommended") return svg("circle", { cx: left, cy: top, r: size, class: `mark ${role}` });
  const corners = Array.from({ length: 10 }, (_, i) => {
    const reach = i % 2 ? 0.42 * size : size;
    const turn = (Math.PI * i) / 5 - Math.PI / 2;
    return `${left + reach * Math.cos(turn)} ${top + reach * Math.sin(turn)}`;
  });
  return svg("path", { d: `M${corners.join("L")}Z`, class: `mark ${role}` });
}

const away = (one, other) => Math.hypot(one.left - other.left, one.top - other.top);
const insideOf = (frame, p) =>
  p.left >= frame.left && p.left <= frame.right && p.top >= frame.top && p.top <= frame.bottom;
const box = (x, y, width, height) => ({ x, y, width, height });
const boxOf = (frame) =>
  box(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);

function nameBox(place, x, y, width) {
  const before = x > 0 ? 0 : x < 0 ? width : width / 2;
  return box(place.left + x - before, place.top - y - 10, width, 13);
}

function overlap(one, other) {
  const width = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const height = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  return Math.max(width, 0) * Math.max(height, 0);
}
