// Numbers for people: what formatting.py and text.py do, once more. A test compares both.

const DIGITS = 3;
const PERCENT_DECIMALS = 2;
const NOISE = 0.05; // a value below this part of its interval's half width is printed as 0

/** A number in three significant digits: `19,600`, `164`, `0.0123`, `0`. */
function numberText(value, { digits = DIGITS, decimals = null } = {}) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  let places = digits - 1 - Number(value.toExponential().split("e")[1]);
  if (decimals !== null) places = Math.min(places, decimals);
  const rounded = roundedText(value, places);
  const size = Math.abs(Number(rounded));
  if (size === 0) return "0";
  if (decimals === null && (size < 1e-6 || size >= 1e12)) {
    return `${trimmed(mantissa)}e${Number(exponent)}`;
  }
  const [whole, part] = rounded.split(".");
  const separated = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return part ? trimmed(`${separated}.${part}`) : separated;
}

/** A number rounded to decimals, or to tens where these are negative. */
function roundedText(value, places) {
  if (places >= 0) return value.toFixed(places);
  const unit = 10 ** -places;
  return String(Math.sign(value) * Math.round(Math.abs(value) / unit) * unit);
}

const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const percent = (share) => `${numberText(100 * share, { decimals: 0 })} %`;
const decimalsOf = (unit) => (unit === "%" ? PERCENT_DECIMALS : null);

/** The value of a measurement without its unit; noise around zero is `0`. */
function valueText({ value, low, high }, unit) {
  const half = (high - low) / 2;
  if (Number.isFinite(half) && Math.abs(value) < NOISE * half) return "0";
  return numberText(value, { decimals: decimalsOf(unit) });
}

/** The value that breaks a limit with its unit, in as many digits as keep it apart from the bound. */
function brokenText(report, trial, { metric, bound }) {
  const found = trial.measurements[metric];
  const { unit } = report.metrics[metric];
  let decimals = decimalsOf(unit);
  let text = valueText(found, unit);
  for (let digits = DIGITS + 1; found.value !== bound && digits < 18; digits++) {
    if (text !== numberText(bound, { digits: digits - 1, decimals })) break;
    if (decimals !== null) decimals += 1;
    text = numberText(found.value, { digits, decimals });
  }
  return `${text} ${unit}`.trimEnd();
}

/** The interval of a measurement; empty if it rounds to one number. */
function intervalText({ low, high }, unit) {
  const decimals = decimalsOf(unit);
  const text = (end) => numberText(end, { decimals });
  if (low === -Infinity) return high === Infinity ? "" : `at most ${text(high)}`;
  if (high === Infinity) return `at least ${text(low)}`;
  return text(low) === text(high) ? "" : `${text(low)} to ${text(high)}`;
}

/** A duration: `12 s`, `4 min`, `1 h 12 min`. */
function durationText(seconds) {
  if (Math.round(seconds) < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
