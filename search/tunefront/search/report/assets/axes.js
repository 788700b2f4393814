// Axes: from values to pixels, ticks, an empty picture.

const FRAME = { left: 64, right: 16, top: 18, bottom: 44 };
const FAR = 5; // positive values further apart than this factor get a logarithmic axis
const SAME = 1e-9; // values closer than this relative difference are equal

/** From values to pixels between `from` and `to`; `ticks` are values worth a line. */
function scaleOf(values, from, to, gap) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const log = least > 0 && most / least > FAR;
  const unit = log ? Math.log10 : (value) => value;
  const same = most - least <= SAME * Math.max(Math.abs(least), Math.abs(most));
  const room = same ? Math.abs(least) * 0.1 || 1 : (unit(most) - unit(least)) * 0.07;
  const [low, high] = [unit(least) - room, unit(most) + room];
  const at = (value) => {
    const place = log && value <= 0 ? low : unit(value);
    return from + ((place - low) / (high - low)) * (to - from);
  };
  const back = (place) => (log ? 10 ** place : place);
  const ticks = ticksOf(back(low), back(high), log);
  return { at, log, ticks: apart(ticks, at, gap), low: back(low), high: back(high) };
}

function ticksOf(low, high, log) {
  const found = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
      for (const digit of [1, 2, 5]) found.push(Number(`${digit}e${power}`));
    }
    const inside = found.filter((tick) => tick >= low && tick <= high);
    if (inside.length > 2) return inside;
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
  const linear = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) {
    linear.push(Number((count * step).toPrecision(12)));
  }
  return linear;
}

/** Ticks whose labels don't run into each other. */
function apart(ticks, at, gap) {
  const kept = [];
  for (const tick of ticks) {
    if (!kept.length || Math.abs(at(tick) - at(kept[kept.length - 1])) >= gap) kept.push(tick);
  }
  return kept;
}

/** An empty picture with its axes; `across` and `up` have a label and the values to show. */
function framed(width, height, across, up) {
  const x = scaleOf(across.values, FRAME.left, width - FRAME.right, 52);
  const y = scaleOf(up.values, height - FRAME.bottom, FRAME.top, 22);
  const [right, bottom] = [width - FRAME.right, height - FRAME.bottom];
  const parts = [];
  for (const tick of x.ticks) {
    const at = x.at(tick);
    parts.push(svg("path", { class: "grid", d: `M${at} ${FRAME.top}V${bottom}` }));
    parts.push(svg("text", { x: at, y: bottom + 16, class: "tick middle" }, tickText(tick)));
  }
  for (const tick of y.ticks) {
    const at = y.at(tick);
    parts.push(svg("path", { class: "grid", d: `M${FRAME.left} ${at}H${right}` }));
    parts.push(svg("text", { x: FRAME.left - 6, y: at + 4, class: "tick end" }, tickText(tick)));
  }
  const middle = (FRAME.top + bottom) / 2;
  const turned = `translate(13 ${middle}) rotate(-90)`;
  parts.push(svg("text", { x: right, y: height - 8, class: "label end" }, across.label));
  parts.push(svg("text", { transform: turned, class: "label middle" }, up.label));
  const frame = { left: FRAME.left, top: FRAME.top, right, bottom };
  return { x, y, frame, axes: svg("g", {}, ...parts) };
}

const tickText = (tick) => (Math.abs(tick) >= 1e4 ? tick.toLocaleString("en-US") : general(tick));
