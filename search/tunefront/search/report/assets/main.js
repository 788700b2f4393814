// The page: what is set, and what follows from it.

const LEGEND = {
  recommended: "recommended",
  front: "on the front",
  baseline: "baseline",
  dominated: "dominated",
  beyond: "beyond the limits",
};

class Page {
  constructor(report) {
    this.report = report;
    this.limits = new Limits(report);
    this.card = new Card(report);
    this.start = new Set(within(report.trials, report.limits));
    const show = (trial, spot) => this.show(trial, spot);
    const leave = () => this.leave();
    const keep = (from) => this.keep(this.shown, this.spot, from);
    const close = () => this.card.close();
    const hands = { show, leave, keep, close };
    const measured = report.trials.some((trial) => trial.measured);
    this.pictures = measured ? pairsOf(report).map((p) => new PairPicture(report, p, hands)) : [];
    this.table = new TrialTable(report, {
      show: (trial) => this.mark(trial),
      leave: () => this.leave(),
      keep: (trial, button) => this.keep(trial, under(button), button),
    });
    this.once();
    this.update();
    this.aside();
    window.addEventListener("resize", () => {
      this.draw();
      this.aside();
    });
  }

  /** What never changes. */
  once() {
    const { report } = this;
    byId("when").textContent = report.period.length ? `, ${report.period.join(" to ")}` : "";
    byId("front").hidden = !this.pictures.length;
    byId("controls").replaceChildren(...(this.pictures.length ? this.limits.nodes(() => this.update()) : []));
    byId("limits").addEventListener("submit", (event) => event.preventDefault());
    byId("limits").addEventListener("reset", (event) => {
      event.preventDefault();
      this.limits.reset();
      this.update();
    });
    const sign = ([role, text]) => {
      const place = { left: 11, top: 11, role };
      const picture = svg("svg", { width: 22, height: 22, "aria-hidden": "true" }, marker(place));
      return el("span", {}, picture, text);
    };
    byId("legend").replaceChildren(...Object.entries(LEGEND).map(sign));
    byId("pairs").replaceChildren(...this.pictures.map((picture) => el("div", {}, picture.node)));
    const how = el("p", { class: "quiet" }, IMPORTANCE);
    byId("importance").replaceChildren(...importanceParts(report));
    byId("importance").before(how);
    byId("outputs").hidden = !report.outputs;
    byId("curves-section").hidden = !report.curves.length;
    byId("loads-section").hidden = !report.loads.length && !report.distributions.length;
    byId("throughputs").hidden = !report.loads.length;
    byId("distributions-part").hidden = !report.distributions.length;
    byId("output-items").replaceChildren(...(report.outputs ? outputsParts(report) : []));
    byId("stages").replaceChildren(...stagesPart(report));
    const open = (number, button) => {
      const trial = report.trials.find((one) => one.number === number);
      this.keep(trial, under(button), button);
    };
    byId("failures").replaceChildren(...failureParts(report, open));
    byId("protocol").replaceChildren(...protocolParts(report));
  }

  /** What follows from the limits as they are set. */
  seen() {
    const { report, limits } = this;
    const found = frontOf(report, limits.all, limits.prefer);
    const baseline = report.trials.filter((t) => t.number === report.baseline);
    const framed = new Set([...this.start, ...found.kept, ...baseline]);
    if (framed.size < 2) report.trials.filter((t) => t.measured).forEach((t) => framed.add(t));
    return {
      ...found,
      framed,
      keeps: new Set(found.kept),
      onFront: new Set(found.front),
      limits: limits.all,
      moved: limits.moved,
    };
  }

  update() {
    this.view = this.seen();
    this.headline();
    this.draw();
    this.table.update(this.view);
    this.state();
    this.card.update(this.view);
  }

  /** The headline and the picks under the current limits. */
  headline() {
    const { report, view } = this;
    const [first] = view.picks;
    const measured = report.trials.some((trial) => trial.measured);
    if (view.moved || first) {
      byId("label").textContent = first ? "Recommended" : "No recommendation";
      if (view.moved) byId("label").textContent += " with the limits set below";
    }
    const uncertain = first?.uncertain ? `; ${first.uncertain}` : "";
    const found = first
      ? `${first.trial.name}: ${first.trial.sentence}${uncertain}`
      : "no trial meets the limits";
    byId("headline").textContent = measured && view.moved ? found : report.headline;
    byId("differs").replaceChildren(...(first ? this.differing(first.trial) : []));
    const take = first && report.commands.export;
    const text = take ? `${report.commands.export} ${first.trial.number}` : "";
    byId("take").replaceChildren(...(take ? [command(text)] : []));
    const rows = view.picks.length ? view.picks.map((pick) => this.pickRow(pick)) : this.misses();
    byId("picks").tBodies[0].replaceChildren(...rows);
  }

  pickRow({ name, trial, reason, ties }) {
    const button = el("button", { type: "button", class: "sort" }, trial.name);
    button.addEventListener("click", () => this.keep(trial, under(button), button));
    const text = ties.length ? `${reason}; tied with ${numbers(ties, 5)}` : reason;
    return el(
      "tr",
      { "data-pick": name, "data-trial": trial.number },
      el("th", { scope: "row" }, name),
      el("td", {}, button),
      el("td", {}, trial.sentence),
      el("td", {}, text),
    );
  }

  /** The nearest misses, where no trial meets the limits. */
  misses() {
    const { report, view } = this;
    return nearestMisses(report.trials, view.limits).map((trial) => {
      const broken = view.limits.filter((l) => !keeps(l, valueOf(trial, l.metric)));
      const text = broken.map(
        (l) => `${l.metric} ${brokenText(report, trial, l)} (limit ${limitText(l)})`,
      );
      return el(
        "tr",
        { "data-miss": trial.number },
        el("th", { scope: "row" }, "nearest miss"),
        el("td", {}, trial.name),
        el("td", {}, trial.sentence),
        el("td", {}, text.join(", ")),
      );
    });
  }

  /** The choices of a trial that are not the baseline's. */
  differing(trial) {
    const base = this.report.trials.find((one) => one.number === 0).configuration;
    const names = Object.keys(trial.configuration).filter((n) => trial.configuration[n] !== base[n]);
    const chip = (name) => {
      const was = el("span", { class: "quiet" }, ` (baseline ${choiceText(base[name])})`);
      return el("span", { class: "chip" }, `${name} `, el("b", {}, choiceText(trial.configuration[name])), was);
    };
    return names.map(chip);
  }

  /** How many trials are left, and the command that picks the same. */
  state() {
    const { view, report } = this;
    const all = report.trials.filter((trial) => trial.measured).length;
    const kept = `${view.keeps.size} of ${all} measured trials keep the limits`;
    const [first] = view.picks;
    const text = first ? `; recommended: ${first.trial.name}` : "";
    byId("now").textContent = kept + text;
    const typed = view.moved && report.commands.pick ? [command(this.limits.command)] : [];
    byId("again").replaceChildren(...typed);
  }

  /** Pictures that no limit changes. */
  aside() {
    for (const [id, part] of Object.entries({ history: historyPart, pace: pacePart })) {
      byId(id).replaceChildren(...part(this.report, byId(id).clientWidth || 400));
    }
    const width = Math.min(byId("curves").clientWidth || 400, 560);
    byId("curves").replaceChildren(...curveParts(this.report, width));
    const each = Math.min(byId("loads-section").clientWidth || 400, 560);
    byId("loads").replaceChildren(...loadParts(this.report, each));
    byId("distributions").replaceChildren(...distributionParts(this.report, each));
  }

  draw() {
    for (const picture of this.pictures) {
      picture.draw(this.view, picture.node.parentNode.clientWidth || 400);
    }
  }

  show(trial, spot) {
    this.mark(trial);
    [this.shown, this.spot] = [trial, spot];
    this.card.show(this.view, trial, spot);
  }

  keep(trial, spot, from) {
    if (!trial) return;
    this.mark(trial);
    this.card.keep(this.view, trial, spot, from);
  }

  leave() {
    this.shown = null;
    this.mark(this.card.kept ? this.card.trial : null);
    this.card.leave();
  }

  mark(trial) {
    const ties = trial ? this.view.ties(trial) : [];
    for (const picture of this.pictures) picture.mark(trial, ties);
    this.table.mark(trial);
  }
}

function under(node) {
  const frame = node.getBoundingClientRect();
  return { left: frame.left, top: frame.bottom };
}

const report = readReport(byId("data").textContent);
document.querySelector("main").hidden = false;
const page = new Page(report);
