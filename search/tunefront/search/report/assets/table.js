// The table of all trials: filtered by the limits, sorted by any column.

const FILTERS = {
  "within the limits": (view, trial) => view.keeps.has(trial),
  "on the front": (view, trial) => view.onFront.has(trial),
  failed: (view, trial) => trial.status === "failed",
  all: () => true,
};

/** Columns: a title, what to sort by, what to show, whether limits move it. */
function columnsOf(report) {
  const metrics = report.objectives.map((objective) => objective.metric);
  metrics.push(...report.limits.map((limit) => limit.metric));
  const { loss } = report.rules;
  if (report.metrics[loss]) metrics.push(loss);
  const found = (trial, metric) => (trial.measured ? trial.measurements[metric] : undefined);
  return [
    { title: "role", key: roleText, show: roleText, moves: true },
    { title: "trust", key: trustText, show: trustText, moves: true },
    ...[...new Set(metrics)].map((metric) => ({
      title: metric,
      unit: unitText(report, metric),
      descends: report.metrics[metric].sign < 0,
      key: (view, trial) => found(trial, metric)?.value,
      show: (view, trial) => valueCell(found(trial, metric), report.metrics[metric].unit),
      number: true,
    })),
    ...report.choices.map((name) => ({
      title: name,
      key: (view, trial) => trial.configuration[name],
      show: (view, trial) => choiceText(trial.configuration[name]),
    })),
    {
      title: "seconds",
      key: (view, trial) => trial.seconds ?? undefined,
      show: (view, trial) => (trial.seconds === null ? "-" : numberText(trial.seconds)),
      number: true,
    },
  ];
}

function valueCell(measurement, unit) {
  if (!measurement) return "-";
  const text = el("span", {}, valueText(measurement, unit));
  text.title = intervalText(measurement, unit);
  return text;
}

class TrialTable {
  /** Calls `hands.keep(trial, button)` for a click, `hands.show(trial)` under the pointer. */
  constructor(report, hands) {
    this.report = report;
    this.columns = [
      { title: "trial", key: (view, trial) => trial.number, number: true },
      ...columnsOf(report),
    ];
    this.filter = Object.keys(FILTERS)[0];
    this.by = this.columns.find((column) => column.title === report.objectives[0].metric);
    this.descending = this.by.descends;
    this.rows = new Map(report.trials.map((trial) => [trial, this.row(trial, hands)]));
    this.body = el("tbody", {}, ...this.rows.values());
    byId("trials").replaceChildren(el("thead", {}, this.head()), this.body);
    this.choose();
  }

  head() {
    this.heads = this.columns.map((column) => {
      const button = el("button", { type: "button", class: "sort" }, column.title);
      button.addEventListener("click", () => this.sortBy(column));
      const unit = column.unit ? el("span", { class: "quiet" }, column.unit) : null;
      return el("th", { scope: "col", class: column.number ? "number" : null }, button, unit);
    });
    return el("tr", {}, ...this.heads);
  }

  row(trial, hands) {
    const button = el("button", { type: "button", class: "sort" }, three(trial.number));
    button.addEventListener("click", () => hands.keep(trial, button));
    const cells = this.columns.slice(1).map((column) => {
      const text = column.moves ? "" : column.show(null, trial);
      return el("td", { class: column.number ? "number" : null }, text);
    });
    const row = el("tr", { "data-trial": trial.number }, el("td", {}, button), ...cells);
    row.addEventListener("pointerenter", () => hands.show(trial));
    row.addEventListener("pointerleave", () => hands.leave());
    return row;
  }

  /** Which trials are shown: one of the filters. */
  choose() {
    const chosen = Object.keys(FILTERS).map((name) => {
      const input = el("input", { type: "radio", name: "filter", value: name });
      input.checked = name === this.filter;
      input.addEventListener("change", () => {
        this.filter = name;
        this.update(this.view);
      });
      return el("label", {}, input, ` ${name} `, el("span", { class: "quiet" }));
    });
    byId("shown").replaceChildren(...chosen);
  }

  sortBy(column) {
    this.descending = this.by === column ? !this.descending : Boolean(column.descends);
    this.by = column;
    this.update(this.view);
  }

  update(view) {
    this.view = view;
    const { trials } = this.report;
    for (const trial of trials) {
      const row = this.rows.get(trial);
      row.hidden = !FILTERS[this.filter](view, trial);
      row.className = trial.measured ? roleOf(view, trial) : "failed";
      this.columns.forEach((column, i) => {
        if (column.moves) row.children[i].textContent = column.show(view, trial);
      });
    }
    for (const label of byId("shown").children) {
      const shown = trials.filter((trial) => FILTERS[label.firstChild.value](view, trial));
      label.lastChild.textContent = `(${shown.length})`;
    }
    const order = this.columns.indexOf(this.by);
    this.heads.forEach((head, i) => {
      if (i === order) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const keyed = trials.map((trial) => [this.by.key(view, trial), trial]);
    keyed.sort(([one], [other]) => compared(one, other, this.descending));
    this.body.append(...keyed.map(([, trial]) => this.rows.get(trial)));
  }

  mark(trial) {
    this.body.querySelector("tr.marked")?.classList.remove("marked");
    this.rows.get(trial)?.classList.add("marked");
  }
}

/** What is missing comes last; numbers before words. */
function compared(one, other, descending) {
  if (one === undefined || other === undefined) return (one === undefined) - (other === undefined);
  const sign = descending ? -1 : 1;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  if (typeof one === "string") return sign * one.localeCompare(other, "en");
  return sign * (one - other);
}
