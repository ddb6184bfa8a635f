// Tables that are sorted, filtered, narrowed, unfolded and copied. Without it every row is there.
"use strict";
document.documentElement.classList.add("js"); // long tables are folded only where this unfolds them
document.addEventListener("DOMContentLoaded", () => {
  const SEARCHED = 50; // rows that a typed word unfolds at most
  const SCALE = { "µs": 1e-3, s: 1e3, kB: 1e3, MB: 1e6, GB: 1e9 }; // to ms, to bytes
  const collator = new Intl.Collator(undefined, { numeric: true });
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);
  function make(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }
  const unfold = (part) => {
    const closed = all("details:not([open])", part);
    for (const e of closed) e.open = true;
    return closed;
  };
  const button = (text, onclick) => make("button", { type: "button", onclick }, text);

  // A cell's first line, and the small ones below it.
  const line = (cell) =>
    [...cell.childNodes].filter((n) => n.localName !== "small").map((n) => n.textContent).join("").trim();
  const below = (cell) => all("small", cell).map((e) => e.textContent).join("; ");
  const isAbsent = (cell) => cell.querySelector(".absent") !== null;

  // What a cell is sorted by: its first number in one unit, or its text; null sorts last.
  function key(cell, numeric) {
    const text = isAbsent(cell) ? "" : line(cell);
    if (!text || !numeric) return text || null;
    const found = text.replaceAll("−", "-").match(/(-?\d[\d,]*(?:\.\d+)?)(?:\s*(µs|s|kB|MB|GB)(?!\w))?/);
    return found && found[1].replaceAll(",", "") * (SCALE[found[2]] ?? 1);
  }

  const filter = { page: [], variant: "" };
  const tables = all("main table").map((table) => {
    const head = [...table.tHead.rows[0].cells];
    const place = (name) => head.findIndex((th) => th.dataset.filter === name);
    const first = Number(table.dataset.first) || Infinity; // rows shown while folded
    const body = table.tBodies[0];
    return { table, head, body, first, page: place("page"), variant: place("variant"), words: [], sort: null };
  });

  // The rows of a table, on first use. Each gets a first cell of its own, so that it can be moved.
  function rowsOf(t) {
    if (t.rows) return t.rows;
    const text = (e, named) => `${e.textContent} ${named.title}`.toLowerCase();
    let named;
    t.rows = [...t.body.rows].map((row) => {
      if (row.cells.length === t.head.length) named = row.cells[0];
      else row.prepend(named.cloneNode(true));
      row.classList.remove("extra");
      const cells = [...row.cells];
      const [page, variant] = [cells[t.page], cells[t.variant]]; // of tables that have them
      const found = { page: page && text(page, page), variant: variant && line(variant) };
      return { row, cells, ...found, group: named.textContent, text: text(row, named) };
    });
    return (t.order = t.rows);
  }

  // Shows the rows that match, the first of them while folded, and merges equal first cells.
  function arrange(t) {
    const rows = rowsOf(t);
    t.hits = t.order.filter(
      (r) =>
        t.words.every((word) => r.text.includes(word)) &&
        filter.page.every((word) => r.page?.includes(word) ?? true) &&
        (!filter.variant || (r.variant ?? filter.variant) === filter.variant),
    );
    const searched = t.words.length || (filter.page.length && t.page >= 0);
    const folded = Math.max(t.first, searched ? SEARCHED : 0);
    const shown = t.hits.slice(0, t.open ? Infinity : folded);
    const kept = new Set(shown);
    for (const r of rows) if (r.row.hidden === kept.has(r)) r.row.hidden = !r.row.hidden;
    let lead = null;
    for (const r of shown) {
      const merged = lead !== null && lead.group === r.group && !t.sort; // unsorted, or by the first
      r.cells[0].hidden = merged;
      if (!merged) lead = r;
      lead.cells[0].rowSpan = merged ? lead.cells[0].rowSpan + 1 : 1;
      lead.cells[0].scope = merged ? "rowgroup" : "row";
    }
    if (t.moved) for (const r of shown) t.body.append(r.row); // where the hidden ones lie is of no matter
    t.table.closest(".scroll").hidden = rows.length > 0 && !t.hits.length;
    t.more.hidden = t.hits.length <= folded;
    t.more.textContent = t.open ? "Show fewer rows" : `Show all ${t.hits.length} rows`;
    t.note.textContent = t.hits.length < rows.length ? `${t.hits.length} of ${rows.length} rows match` : "";
  }

  function sortBy(t, column) { // up, down, as it was
    [t.sort, t.down] = t.sort !== column ? [column, false] : t.down ? [null, false] : [column, true];
    for (const th of t.head) th.removeAttribute("aria-sort");
    t.order = rowsOf(t);
    t.moved = true;
    if (t.sort !== null) {
      t.head[column].setAttribute("aria-sort", t.down ? "descending" : "ascending");
      const numeric = t.head[column].classList.contains("number");
      const compare = (a, b) => (t.down ? -1 : 1) * (numeric ? a - b : collator.compare(a, b));
      t.order = t.rows
        .map((r) => [r, key(r.cells[column], numeric)])
        .sort(([, a], [, b]) => (a === null || b === null ? (a === null) - (b === null) : compare(a, b)))
        .map(([r]) => r);
    }
    arrange(t);
  }

  // RFC 4180: the rows that match, folded ones too, in the columns that are shown.
  function csv(t) {
    arrange(t);
    const columns = t.head.map((_, i) => i).filter((i) => !t.head[i].hidden);
    const twoLines = new Set(columns.filter((i) => t.hits.some((r) => below(r.cells[i]))));
    const number = (text) =>
      text.replaceAll("\u00a0", " ").replaceAll("−", "-").replace(/(\d),(?=\d{3})/g, "$1");
    const name = (text) => (/^[=+\-@]/.test(text) ? `'${text}` : text); // never a formula
    const value = (cell) =>
      isAbsent(cell) ? "" : (cell.classList.contains("number") ? number : name)(line(cell));
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const joined = (cells, top, second) =>
      columns.flatMap((i) => [top(cells[i]), ...(twoLines.has(i) ? [second(cells[i])] : [])]).map(quoted).join(",");
    const lines = t.hits.map((r) => joined(r.cells, value, (cell) => number(below(cell))));
    return [joined(t.head, line, (th) => `${line(th)} (below)`), ...lines, ""].join("\r\n");
  }
  async function copy(t, pressed) {
    let [text, done] = [csv(t), true];
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not offered to every file
      const put = (e) => (e.clipboardData.setData("text/plain", text), e.preventDefault()); // with its CR LF
      const area = document.body.appendChild(make("textarea", { value: text, oncopy: put }));
      area.select();
      done = document.execCommand("copy");
      area.remove();
      pressed.focus();
    }
    t.note.textContent = done ? `Copied ${t.hits.length} rows` : "The browser does not let this page copy";
  }

  function choiceOfColumns(t) {
    const labels = t.head.slice(1).map((th, i) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.onchange = () => {
        for (const cells of [t.head, ...rowsOf(t).map((r) => r.cells)]) cells[i + 1].hidden = !box.checked;
      };
      return make("label", {}, box, line(th));
    });
    return make("fieldset", { hidden: true }, make("legend", {}, "Columns shown"), ...labels);
  }

  for (const t of tables) {
    const rows = t.body.rows.length;
    t.more = button(`Show all ${rows} rows`, () => ((t.open = !t.open), arrange(t)));
    t.more.hidden = rows <= t.first;
    t.note = make("span", { role: "status" });
    const copied = button("Copy as CSV", () => copy(t, copied));
    const tools = make("div", { className: "tools" }, t.more, copied);
    t.table.closest(".scroll").after(tools);
    if (t.head.length > 4) {
      const choice = choiceOfColumns(t);
      const toggle = button("Columns", () => (toggle.ariaExpanded = !(choice.hidden = !choice.hidden)));
      toggle.ariaExpanded = false;
      tools.append(toggle);
      tools.after(choice);
    }
    tools.append(t.note);
    if (rows < 3) continue; // nothing to sort
    for (const [i, th] of t.head.entries()) {
      const sort = button("", () => sortBy(t, i));
      sort.append(...th.childNodes);
      th.append(sort);
    }
  }

  for (const input of all("input[data-search]")) {
    let opened = []; // what a search has unfolded
    input.oninput = () => {
      const section = document.getElementById(input.dataset.search);
      if (input.value) opened.push(...unfold(section));
      else for (const e of opened.splice(0)) e.open = false;
      for (const t of tables) if (section.contains(t.table)) (t.words = words(input)), arrange(t);
    };
  }

  // One bar filters every table with these columns, and what is marked as of one variant.
  const names = (axis) => { // a row under a merged first cell has one cell less
    const cells = (t) => [...t.body.rows].map((row) => row.cells[t[axis] - t.head.length + row.cells.length]);
    return new Set(tables.filter((t) => t[axis] >= 0).flatMap(cells).filter(Boolean).map(line));
  };
  const [pages, variants] = [names("page"), [...names("variant")]];
  const option = (text, value) => make("option", { value, dir: "auto" }, text);
  const page = make("input", { type: "search", placeholder: "part of a name", oninput: apply });
  const variant = make("select", { onchange: apply }, option("all", ""), ...variants.map((v) => option(v, v)));
  const clear = button("Clear", () => ((page.value = variant.value = ""), apply(), bar[0].focus()));
  clear.hidden = true;
  const state = make("span", { role: "status" });
  const bar = make("form", { className: "filter", role: "search", ariaLabel: "Tables", onsubmit: () => false });
  bar.append(make("span", {}, "Filter the tables"));
  if (pages.size > 2) bar.append(make("label", {}, "Page ", page)); // one page, and all of them: no choice
  if (variants.length > 1) bar.append(make("label", {}, "Variant ", variant));
  if (bar.children.length > 1) document.querySelector("nav").after(bar);
  bar.append(clear, state);
  function apply() {
    Object.assign(filter, { page: words(page), variant: variant.value });
    clear.hidden = !filter.page.length && !filter.variant;
    bar.classList.toggle("active", !clear.hidden);
    state.textContent = clear.hidden ? "" : "Tables with these columns show only these rows.";
    for (const t of tables) if (t.page >= 0 || t.variant >= 0) arrange(t);
    for (const e of all("[data-variant]")) {
      e.hidden = filter.variant && e.dataset.variant !== filter.variant;
      if (filter.variant && !e.hidden) unfold(e);
    }
  }
});
