// The card of one trial: under the pointer, or kept open.

class Card {
  constructor(report) {
    this.report = report;
    this.node = byId("card");
    this.kept = false;
    this.node.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  /** Show a trial next to a place, unless another one is kept open. */
  show(view, trial, spot) {
    if (this.kept) return;
    this.trial = trial;
    this.node.replaceChildren(...this.parts(view, trial));
    this.place(spot);
  }

  /** Keep it open until it is closed; `from` gets the focus back. */
  keep(view, trial, spot, from) {
    this.kept = false;
    this.show(view, trial, spot);
    this.kept = true;
    this.from = from;
    this.node.classList.add("kept");
    this.update(view);
    this.node.firstChild.focus({ preventScroll: true });
  }

  /** What is kept open, with the limits as they are set now. */
  update(view) {
    if (!this.kept) return;
    const close = el("button", { type: "button", class: "close", "aria-label": "close" }, "×");
    close.addEventListener("click", () => this.close());
    this.node.replaceChildren(close, ...this.parts(view, this.trial));
  }

  leave() {
    if (!this.kept) this.node.hidden = true;
  }

  close() {
    this.kept = false;
    this.node.hidden = true;
    this.node.classList.remove("kept");
    this.from?.focus({ preventScroll: true });
  }

  place({ left, top }) {
    const { node } = this;
    node.hidden = false;
    const { width, height } = node.getBoundingClientRect();
    const [wide, high] = [document.documentElement.clientWidth, window.innerHeight];
    const position = left + 18 + width < wide ? left + 18 : left - 18 - width;
    node.style.left = `${Math.max(8, Math.min(position, wide - width - 8))}px`;
    node.style.top = `${Math.max(8, Math.min(top + 12, high - height - 8))}px`;
  }

  parts(view, trial) {
    const { report } = this;
    const parts = [el("h3", {}, trial.name), el("p", {}, trial.sentence)];
    parts.push(el("p", { class: "quiet" }, `${roleText(view, trial)}; ${trustText(view, trial)}`));
    parts.push(...this.remarks(view, trial).map((text) => el("p", { class: "quiet" }, text)));
    if (trial.measured) parts.push(this.measurements(trial));
    const names = Object.keys(trial.configuration).filter((n) => report.choices.includes(n));
    const choices = names.map((name) => `${name} ${choiceText(trial.configuration[name])}`);
    parts.push(el("p", {}, choices.join(", ")));
    if (report.commands.export) {
      const word = trial.measured ? "export" : "show";
      parts.push(el("p", {}, command(`${report.commands[word]} ${trial.number}`)));
    }
    return parts;
  }

  remarks(view, trial) {
    const ties = view.ties(trial);
    const warnings = trial.warnings.filter((text) => !trial.sentence.includes(text));
    const broken = trial.measured
      ? view.limits.filter((limit) => !keeps(limit, valueOf(trial, limit.metric)))
      : [];
    return [
      broken.length ? `breaks ${broken.map(limitText).join(", ")}` : "",
      ties.length ? `tied with ${numbers(ties)}` : "",
      warnings.length ? `warnings: ${warnings.join("; ")}` : "",
      trial.reason ? `proposed: ${trial.reason}` : "",
      trial.attempt > 1 ? `started ${trial.attempt} times` : "",
      trial.status === "failed" ? trial.message : "",
    ].filter(Boolean);
  }

  measurements(trial) {
    const metrics = Object.keys(this.report.metrics).filter((name) => name in trial.measurements);
    const rows = metrics.map((name) => {
      const found = trial.measurements[name];
      const unit = el("span", { class: "quiet" }, unitText(this.report, name));
      const own = this.report.metrics[name].unit;
      const cells = [el("td", { class: "number" }, valueText(found, own))];
      cells.push(el("td", { class: "quiet number" }, intervalText(found, own)));
      return el("tr", {}, el("th", { scope: "row" }, name, unit), ...cells);
    });
    return el("table", {}, el("tbody", {}, ...rows));
  }
}
