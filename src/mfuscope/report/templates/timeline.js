// Draws timelines at any zoom; without it they show the whole step. timeline_shapes.py draws alike.
"use strict";
for (const figure of document.querySelectorAll("figure.timeline")) {
  const { span, shortest, kinds, box, named, letter, axis, lines } = JSON.parse(
    figure.querySelector("script").textContent,
  );
  const stage = figure.querySelector(".lines");
  const drawings = [...stage.querySelectorAll("svg")];
  const readout = figure.querySelector("output");
  const LEAST = 200; // ticks of the whole width at the highest zoom: 20 µs
  let from = 0, to = span, asked = 0;

  const svg = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const duration = (ticks) => (ticks >= 10000 ? `${(ticks / 10000).toFixed(2)} ms` : `${(ticks / 10).toFixed(1)} µs`);

  for (const line of lines) {
    for (const row of line.rows) {
      const numbers = row.events.split(" ").map(Number);
      row.found = [];
      for (let i = 0, at = 0; i < numbers.length; i += 3) {
        const start = at + numbers[i];
        at = start + numbers[i + 1];
        row.found.push([start, at, numbers[i + 2]]);
      }
    }
  }

  // The bars of a row's shortest events: a path by kind, each on top of the kinds before it.
  function bars(small, width, row) {
    const under = new Float64Array(width);
    return kinds.map((_, kind) => {
      if (!small[kind]?.length) return "";
      for (const [left, right] of small[kind]) {
        for (let x = Math.max(0, Math.floor(left)); x < Math.min(width, right); x++) {
          under[x] += Math.min(right, x + 1) - Math.max(left, x);
        }
      }
      const base = row.top + row.height;
      let path = "", level = 0;
      for (let x = 0; x <= width; x++) {
        const tall = x < width ? Math.ceil(Math.min(under[x], 1) * row.height - 1e-9) : 0;
        if (tall === level) continue;
        path += level ? `H${x}V${base - tall}${tall ? "" : "z"}` : `M${x} ${base}V${base - tall}`;
        level = tall;
      }
      return path;
    });
  }

  function drawRow(line, row, width, scale) {
    const boxes = kinds.map(() => ""), small = [], texts = [];
    for (const [start, end, name] of row.found) {
      if (end < from || start > to) continue;
      const kind = row.wait ? kinds.indexOf("wait") : line.kinds[name];
      const left = Math.max(-1, (start - from) * scale), right = Math.min(width + 1, (end - from) * scale);
      if ((end - start) * scale < box) {
        (small[kind] ??= []).push([left, right]);
        continue;
      }
      const wide = Math.max(right - left - 1, 1); // 1 px between neighbours
      boxes[kind] += `M${left.toFixed(1)} ${row.top}h${wide.toFixed(1)}v${row.height}h-${wide.toFixed(1)}z`;
      const letters = Math.floor((wide - 4) / letter), text = line.short[name];
      if (wide >= named && row.height > 10) {
        const shown = text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
        texts.push(svg("text", { class: "in", x: Math.max(left, 0) + 2, y: row.top + row.height / 2 + 4 }, shown));
      }
    }
    const stacked = bars(small, width, row);
    const paths = kinds.map((kind, i) => [kind, boxes[i] + stacked[i]]).filter(([, d]) => d);
    const group = svg("g", {});
    if (row.label) group.append(svg("text", { y: row.top - 4 }, row.label));
    group.append(...paths.reverse().map(([kind, d]) => svg("path", { class: `k-${kind}`, d })), ...texts);
    return group;
  }

  function drawAxis(width, height, scale) {
    const group = svg("g", { class: "axis" });
    const least = 80 / scale / 10000; // ms
    const power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let n = Math.ceil(from / 10000 / step - 1e-9); n * step * 10000 <= to; n++) {
      const x = (n * step * 10000 - from) * scale;
      group.append(svg("path", { d: `M${x.toFixed(1)} ${axis - 4}V${height}` }));
      if (x < width - 60) group.append(svg("text", { x: x + 2, y: 11 }, `${(n * step).toFixed(places)} ms`));
    }
    return group;
  }

  function draw() {
    asked = 0;
    const width = Math.round(stage.clientWidth);
    if (!width) return; // folded, or not on this paper
    const scale = width / (to - from);
    drawings.forEach((drawing, i) => {
      const height = drawing.getAttribute("height");
      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      drawing.replaceChildren(
        drawAxis(width, height, scale),
        ...lines[i].rows.map((row) => drawRow(lines[i], row, width, scale)),
      );
    });
  }

  function show(start, length) {
    const wide = Math.min(Math.max(length, LEAST), span);
    from = Math.min(Math.max(start, 0), span - wide);
    to = from + wide;
    asked ||= requestAnimationFrame(draw);
  }
  // Around the middle of what all lines have, so that the shortest one stays in sight.
  const middle = () => (from + (shortest > from ? Math.min(to, shortest) : to)) / 2;
  const zoom = (factor, at = middle()) =>
    factor ? show(at - (at - from) * factor, (to - from) * factor) : show(0, span);
  const move = (share) => show(from + share * (to - from), to - from);
  const time = (event) => {
    const place = stage.getBoundingClientRect();
    return from + ((event.clientX - place.left) / place.width) * (to - from);
  };

  // The event under the pointer, or within 3 px of it.
  function tell(event) {
    const drawing = event.target.closest("svg"), line = lines[drawings.indexOf(drawing)];
    if (!line) return;
    const y = event.clientY - drawing.getBoundingClientRect().top, at = time(event);
    const row = line.rows.find((one) => y >= one.top && y < one.top + one.height);
    const near = (3 * (to - from)) / stage.clientWidth;
    const away = ([start, end]) => Math.max(start - at, at - end, 0);
    const found = row?.found.filter((one) => away(one) <= near).sort((a, b) => away(a) - away(b))[0];
    if (!found) return;
    const [start, end, name] = found;
    const said = row.wait ? row.label : line.names[name];
    readout.textContent = `${said}: ${duration(end - start)}, from ${(start / 10000).toFixed(3)} ms on`;
  }

  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    tell(event);
    if (event.button) return;
    held = event.clientX;
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (held === null) return tell(event);
    move((held - event.clientX) / stage.clientWidth);
    held = event.clientX;
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { held = null; });
  stage.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) zoom(2 ** (event.deltaY / 300), time(event));
    else if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) move(sideways / stage.clientWidth);
    else return; // the page scrolls
    event.preventDefault();
  }, { passive: false });
  const keys = {
    ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoom(0), Home: () => zoom(0),
  };
  stage.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    keys[event.key]();
    event.preventDefault();
  });
  for (const button of figure.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  for (const hidden of figure.querySelectorAll(".zoom, output")) hidden.hidden = false;
  figure.classList.add("live");
  new ResizeObserver(draw).observe(stage);
}
