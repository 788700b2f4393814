// The limits as they are set: a slider and a number for every limit and every objective.

/** Three digits of a value, rounded to the side on which it keeps its own bound. */
function outward(value, test) {
  const near = Number(value.toPrecision(3));
  if (value === 0 || (test === "<=" ? near >= value : near <= value)) return near;
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 2);
  return Number((near + (test === "<=" ? unit : -unit)).toPrecision(3));
}

/** One limit that can be moved; `bound` is null where an objective has none. */
class Control {
  constructor(report, metric, test, own) {
    Object.assign(this, { metric, test, own, bound: own, id: `${metric}${test}` });
    const measured = report.trials.filter((trial) => trial.measured);
    const values = measured.map((trial) => valueOf(trial, metric)).filter(Number.isFinite);
    const stops = new Set(values.map((value) => outward(value, test)));
    if (own !== null) stops.add(own);
    this.stops = [...stops].sort((a, b) => a - b);
    this.unit = report.metrics[metric].unit;
  }

  get loose() {
    return this.test === "<=" ? this.stops.length - 1 : 0;
  }

  get limit() {
    return this.bound === null ? null : { metric: this.metric, test: this.test, bound: this.bound };
  }

  get moved() {
    return this.bound !== this.own;
  }

  /** Set the bound; at the loose end an objective without a limit has none again. */
  set(bound) {
    const none = bound === null || Number.isNaN(bound);
    if (!none) this.bound = bound;
    else this.bound = this.own === null ? null : this.stops[this.loose];
    this.show();
  }

  slide(place) {
    this.set(this.own === null && place === this.loose ? null : this.stops[place]);
  }

  node(changed) {
    const words = this.test === "<=" ? "at most" : "at least";
    const name = `${this.metric} ${words}`;
    const last = this.stops.length - 1;
    this.slider = el("input", { type: "range", min: 0, max: last, step: 1, "aria-label": name });
    this.slider.disabled = last < 1;
    this.number = el("input", { type: "number", step: "any", placeholder: "any" });
    this.number.setAttribute("aria-label", `${name}, ${this.unit || "number"}`);
    this.slider.addEventListener("input", () => {
      this.slide(Number(this.slider.value));
      changed();
    });
    this.number.addEventListener("change", () => {
      this.set(this.number.value === "" ? null : Number(this.number.value));
      changed();
    });
    this.show();
    const bound = el("span", { class: "bound" }, this.number, el("span", {}, this.unit));
    const title = el("span", {}, `${this.metric} `, el("span", { class: "quiet" }, words));
    return el("div", { class: "control", "data-limit": this.id }, title, this.slider, bound);
  }

  show() {
    if (!this.slider) return;
    const place = this.bound === null ? this.loose : this.nearest();
    this.slider.value = place;
    const text = this.bound === null ? "any" : `${general(this.bound)} ${this.unit}`;
    this.slider.setAttribute("aria-valuetext", text);
    this.number.value = this.bound === null ? "" : String(this.bound);
  }

  nearest() {
    const off = this.stops.map((stop) => Math.abs(stop - this.bound));
    return off.indexOf(Math.min(...off));
  }
}

/** What the page's limits and preference are. */
class Limits {
  constructor(report) {
    this.report = report;
    this.controls = report.limits.map((l) => new Control(report, l.metric, l.test, l.bound));
    for (const { metric, sign } of report.objectives) {
      const test = sign > 0 ? "<=" : ">=";
      const there = this.controls.some((c) => c.metric === metric && c.test === test);
      if (!there) this.controls.push(new Control(report, metric, test, null));
    }
    this.prefer = "";
  }

  get moved() {
    return Boolean(this.prefer) || this.controls.some((control) => control.moved);
  }

  /** Limits of metrics that were moved, as `pick --limit` gets them. */
  get named() {
    const metrics = new Set(this.controls.filter((c) => c.moved).map((c) => c.metric));
    return this.controls.filter((c) => metrics.has(c.metric) && c.limit).map((c) => c.limit);
  }

  /** All limits, in the order in which `pick` has them: the file's, then the named ones. */
  get all() {
    const named = this.named;
    const metrics = new Set(named.map((limit) => limit.metric));
    return [...this.report.limits.filter((limit) => !metrics.has(limit.metric)), ...named];
  }

  /** The command that picks the same on the terminal. */
  get command() {
    const limits = this.named.map((l) => ` --limit '${l.metric}${l.test}${l.bound}'`);
    const prefer = this.prefer ? ` --prefer ${this.prefer}` : "";
    return `${this.report.commands.pick}${limits.join("")}${prefer}`;
  }

  reset() {
    this.prefer = "";
    for (const control of this.controls) control.set(control.own);
    if (this.choice) this.choice.value = "";
  }

  nodes(changed) {
    return [...this.controls.map((control) => control.node(changed)), this.preference(changed)];
  }

  /** What decides the recommendation: the gain in all objectives, or one metric alone. */
  preference(changed) {
    const measured = this.report.trials.filter((trial) => trial.measured);
    const usual = this.report.prefer || "the gain in all objectives";
    const all = (metric) => measured.every((trial) => metric in trial.measurements);
    const others = Object.keys(this.report.metrics).filter(all);
    const options = others.map((metric) => el("option", { value: metric }, metric));
    this.choice = el("select", {}, el("option", { value: "" }, usual), ...options);
    this.choice.addEventListener("change", () => {
      this.prefer = this.choice.value;
      changed();
    });
    return el("label", { class: "control" }, el("span", {}, "recommended by"), this.choice);
  }
}
