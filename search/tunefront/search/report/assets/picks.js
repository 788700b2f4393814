"use strict";
// The front and its picks, with any limits: what picks.py, ties.py, pareto.py and objective.py do,
// once more. Pure functions. Tests compare both, so what changes there changes here.

/** The report as the page works with it: measurements as {value, low, high, samples}. */
function readReport(text) {
  const report = JSON.parse(text);
  for (const trial of report.trials) {
    trial.measured = trial.status === "ok" || trial.status === "infeasible";
    if (!trial.measured) continue;
    for (const [name, parts] of Object.entries(trial.measurements)) {
      const [value, low, high] = parts.map(Number);
      trial.measurements[name] = { value, low, high, samples: parts[3] };
    }
    for (const name in trial.bars) trial.bars[name] = trial.bars[name].map(Number);
    const ends = ([value, low, high]) => ({ value: Number(value), low: Number(low), high: Number(high) });
    trial.objectives = trial.objectives.map(ends);
    for (const name in trial.deciding) trial.deciding[name] = ends(trial.deciding[name]);
    for (const name in trial.absolute) {
      const [low, high] = trial.absolute[name].map(Number);
      trial.absolute[name] = { low, high };
    }
    trial.gain = trial.gain === null ? null : Number(trial.gain);
    trial.costs = report.objectives.map((o) => o.sign * trial.measurements[o.metric].value);
  }
  return report;
}

const valueOf = (trial, metric) => trial.measurements[metric].value;
const keeps = (limit, value) => (limit.test === "<=" ? value <= limit.bound : value >= limit.bound);
const limitText = (limit) => `${limit.metric} ${limit.test} ${numberText(limit.bound, { digits: 6 })}`;

/** The measured trials that keep all limits. */
function within(trials, limits) {
  const kept = (trial) =>
    limits.every((l) => l.metric in trial.measurements && keeps(l, valueOf(trial, l.metric)));
  return trials.filter((trial) => trial.measured && kept(trial));
}

/** Which rows no other row dominates; equal rows do not dominate each other. */
function nondominated(rows) {
  return rows.map((row) => !rows.some((other) => dominates(other, row)));
}

function dominates(one, other) {
  let better = false;
  for (let i = 0; i < one.length; i++) {
    if (!(one[i] <= other[i])) return false;
    if (one[i] < other[i]) better = true;
  }
  return better;
}

/** Whether two trials are alike in every objective: the worse within the better one's interval. */
function alike(one, other, smallest) {
  return one.objectives.every((own, i) => {
    const its = other.objectives[i];
    const inside = own.value <= its.value ? its.value <= own.high : own.value <= its.high;
    return inside || close(own.value, its.value, smallest);
  });
}

/** Whether two values differ by at most a share of the larger one. */
const close = (one, other, share) =>
  Math.abs(one - other) <= share * Math.max(Math.abs(one), Math.abs(other));

/** Whether a trial may replace another one: an unconfirmed one replaces only unconfirmed ones. */
const mayReplace = (trial, other) => other.unconfirmed || !trial.unconfirmed;

/** The place of the row nearest to the best of everything, each objective from 0 to 1. */
function knee(rows) {
  const columns = rows[0].map((_, i) => rows.map((row) => row[i]));
  const low = columns.map((column) => Math.min(...column));
  const high = columns.map((column) => Math.max(...column));
  const away = rows.map((row) => {
    let sum = 0;
    row.forEach((cost, i) => {
      const scaled = (cost - low[i]) / (high[i] > low[i] ? high[i] - low[i] : 1);
      sum += scaled * scaled;
    });
    return Math.sqrt(sum);
  });
  return away.indexOf(Math.min(...away));
}

/** The first of those with the least key; keys are numbers, or lists compared from their start. */
function firstLeast(items, key) {
  let best = items[0];
  let least = key(best);
  for (const item of items.slice(1)) {
    const found = key(item);
    if (less(found, least)) [best, least] = [item, found];
  }
  return best;
}

function less(one, other) {
  if (!Array.isArray(one)) return one < other;
  const place = one.findIndex((part, i) => part !== other[i]);
  return place >= 0 && one[place] < other[place];
}

const bestBy = (report, trials, metric) =>
  firstLeast(trials, (trial) => report.metrics[metric].sign * valueOf(trial, metric));

/** What is recommended before ties are looked at, and why. */
function recommended(report, best, prefer) {
  if (prefer) return [bestBy(report, best, prefer), `best ${prefer} within limits`];
  if (report.baseline === null) {
    const costs = best.map((trial) => trial.costs);
    return [best[knee(costs)], "nearest to the best of every objective at once"];
  }
  const reason = "greatest mean gain over the baseline in all objectives";
  return [firstLeast(best, (trial) => -trial.gain), reason];
}

/** The best trial by a metric, and a text about its ties in that metric. */
function bestWithTies(report, trials, metric, chosen, other, word) {
  const least = report.rules.least[metric];
  const top = bestBy(report, trials, metric);
  const able = trials.filter((t) => mayReplace(t, top));
  const near = (t) => close(valueOf(t, metric), valueOf(top, metric), least);
  const upper = Math.min(...able.filter(near).map((t) => t.deciding[metric].high));
  const equal = able.filter((t) => near(t) || t.deciding[metric].value <= upper);
  const otherwise = other === null ? top : bestBy(report, equal, other);
  const best = equal.includes(chosen) ? chosen : otherwise;
  if (equal.length === 1) return [best, ""];
  const others = listed(equal.filter((t) => t !== best).map((t) => t.number));
  if (best !== chosen && other === null) return [best, ` (tied with ${others})`];
  const role = best === chosen ? "the recommended" : word;
  return [best, ` (tied with ${others}; ${role} of them)`];
}

/** Numbers of trials as they are shown; of many the first ones and the last. */
function listed(numbers, most = 5) {
  const shown = numbers.map((number) => String(number).padStart(3, "0"));
  if (shown.length <= most) return shown.join(", ");
  return [...shown.slice(0, most - 1), "...", shown.at(-1)].join(", ");
}

/** The trials within limits, the front, its ties and its picks. */
function frontOf(report, limits, prefer) {
  const kept = within(report.trials, limits);
  const ties = tiesAmong(report, kept);
  if (!kept.length) return { kept, front: [], picks: [], ties };
  const on = nondominated(kept.map((trial) => trial.costs));
  const front = kept.filter((_, i) => on[i]).sort((a, b) => a.costs[0] - b.costs[0]);
  return { kept, front, picks: picksOf(report, front, ties, limits, prefer), ties };
}

/** For a trial, those of `kept` that are tied with it and may replace it; computed once. */
function tiesAmong(report, kept) {
  const known = new Map();
  return (trial) => {
    if (!known.has(trial)) {
      const same = (other) =>
        other !== trial &&
        mayReplace(other, trial) &&
        alike(trial, other, report.rules.smallest_difference);
      known.set(trial, kept.includes(trial) ? kept.filter(same) : []);
    }
    return known.get(trial);
  };
}

function picksOf(report, front, ties, limits, prefer) {
  const { speed, size, quality } = report.rules;
  const found = [];
  const add = (name, trial, reason) => {
    const simple = (t) => [t.changes, size === null ? 0 : valueOf(t, size)];
    const tied = [trial, ...ties(trial)];
    const sure = tied.filter((t) => !t.unconfirmed);
    const chosen = firstLeast(sure.length ? sure : tied, simple);
    if (chosen !== trial) {
      const without = sure.length < tied.length ? " of those without warnings" : "";
      reason += `, tied; the one closest to the baseline${without} was chosen`;
    }
    const uncertain = uncertainText(limits.filter((limit) => !certain(limit, chosen)));
    if (uncertain) reason += `; ${uncertain}`;
    found.push({ name, trial: chosen, reason, ties: ties(chosen), uncertain });
  };
  add("recommended", ...recommended(report, front, prefer || report.prefer));
  const first = found[0].trial;
  if (speed !== null) {
    const [fastest, asFast] = bestWithTies(report, front, speed, first, size, "the smallest");
    add("fastest", fastest, `best ${speed} on the front${asFast}`);
  }
  if (size !== null) {
    const [smallest, asSmall] = bestWithTies(report, front, size, first, speed, "the fastest");
    add("smallest", smallest, `least ${size} on the front${asSmall}`);
  }
  if (quality !== null) {
    const [best, asGood] = bestWithTies(report, front, quality, first, speed, "the fastest");
    add("highest quality", best, `best ${quality} on the front${asGood}`);
  }
  const near = front[knee(front.map((trial) => trial.costs))];
  add("knee", near, "nearest to the best of every objective at once");
  return found;
}

/** Whether the whole interval of a trial's absolute value keeps the limit. */
function certain(limit, trial) {
  const { low, high } = trial.absolute[limit.metric] ?? trial.measurements[limit.metric];
  return keeps(limit, low) && keeps(limit, high);
}

/** The text on limits that a trial keeps on the estimate only; empty without any. */
const uncertainText = (limits) =>
  limits.length
    ? `meets ${limits.map(limitText).join(" and ")} on the estimate; the 95 % interval crosses the limit`
    : "";

/** The measured trials that come nearest to the limits, by the worst relative violation. */
function nearestMisses(trials, limits, count = 3) {
  const beyond = (limit, value) =>
    limit.test === "<=" ? value - limit.bound : limit.bound - value;
  const distance = (trial) =>
    Math.max(
      ...limits.map(
        (l) =>
          l.metric in trial.measurements
            ? beyond(l, valueOf(trial, l.metric)) / Math.max(Math.abs(l.bound), 1e-9)
            : Infinity,
      ),
    );
  const measured = trials.filter((trial) => trial.measured);
  return measured.sort((a, b) => (less(distance(a), distance(b)) ? -1 : +less(distance(b), distance(a)))).slice(0, count);
}

/** A number as Python's `%g` writes it. */
function general(value, digits = 6) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < digits) return trimmed(value.toFixed(digits - 1 - power));
  const sign = power < 0 ? "-" : "+";
  return `${trimmed(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}
