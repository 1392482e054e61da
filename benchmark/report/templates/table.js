"use strict";

/** Boards: sorting, filters, columns, and which methods the charts show. */

function setUpTable(section) {
  const table = section.querySelector("table.board");
  if (!table) return;
  const view = table.closest(".view");
  const narrow = () => applyFilters(section, table, view);
  for (const button of table.querySelectorAll("button.sort")) button.onclick = () => sortBy(table, button.parentElement);
  view.querySelector(".filter").oninput = narrow;
  for (const box of view.querySelectorAll(".kinds input")) box.onchange = narrow;
  for (const box of view.querySelectorAll(".columns input")) {
    box.onchange = () => (box.classList.contains("intervals") ? table.classList.toggle("bare", !box.checked) : showColumn(table, box));
  }
  for (const row of table.querySelectorAll("tr[data-label], tbody tr:not(.heading)")) {
    row.querySelector("button.name").onclick = () => openMethod(section.dataset.place, row.dataset.label, row);
    for (const cell of row.querySelectorAll("td")) {
      cell.onclick = () => openMethod(section.dataset.place, row.dataset.label, row, cell.dataset.key);
    }
    const box = row.querySelector("input.pick");
    if (box) box.onchange = () => pick(section.dataset.place, row.dataset.label, box.checked);
  }
  groupHeads(table);
  narrow();
}

/** First click on a quality: best first; the next one turns it round. Sections stay apart, empty cells go last. */
function sortBy(table, head) {
  const index = [...head.parentElement.children].indexOf(head);
  const words = index === 0;
  const smaller = words || /fpr95|cost/.test(head.dataset.key);
  const ascending = head.ariaSort === "none" ? smaller : head.ariaSort === "descending";
  for (const other of head.parentElement.children) other.ariaSort = "none";
  head.ariaSort = ascending ? "ascending" : "descending";
  for (const body of table.tBodies) {
    const rows = [...body.querySelectorAll("tr:not(.heading)")];
    const known = (row) => row.cells[index].dataset.value;
    const compare = (one, other) => {
      const [a, b] = [known(one), known(other)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      const order = words ? a.localeCompare(b) : Number(a) - Number(b);
      return ascending ? order : -order;
    };
    body.append(...rows.sort(compare));
  }
}

function applyFilters(section, table, view) {
  const wanted = view.querySelector(".filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kinds = new Set([...view.querySelectorAll(".kinds input:checked")].map((box) => box.value));
  let shown = 0;
  const rows = [...table.querySelectorAll("tbody tr:not(.heading)")];
  for (const row of rows) {
    const text = `${row.dataset.label} ${row.querySelector(".name").textContent}`.toLowerCase();
    row.hidden = !(kinds.has(row.dataset.kind) && wanted.every((word) => text.includes(word)));
    shown += !row.hidden;
  }
  for (const body of table.tBodies) {
    const heading = body.querySelector("tr.heading");
    if (heading) heading.hidden = ![...body.querySelectorAll("tr:not(.heading)")].some((row) => !row.hidden);
  }
  view.querySelector(".count").textContent = shown === rows.length ? `${shown} methods` : `${shown} of ${rows.length} methods`;
}

function showColumn(table, box) {
  const heads = [...table.querySelectorAll("tr.heads th")];
  const index = heads.findIndex((head) => head.dataset.key === box.value);
  for (const row of table.querySelectorAll("tr.heads, tbody tr:not(.heading)")) row.cells[index].hidden = !box.checked;
  groupHeads(table);
}

/** The line of groups above the heads of the columns that are shown. */
function groupHeads(table) {
  const line = table.querySelector("tr.groups");
  line.replaceChildren();
  for (const head of table.querySelectorAll("tr.heads th")) {
    if (head.hidden) continue;
    const last = line.lastElementChild;
    if (last && last.textContent === head.dataset.group) last.colSpan += 1;
    else line.append(el("th", { scope: "colgroup", colSpan: 1 }, head.dataset.group));
  }
}

function pick(name, label, shown) {
  if (shown) picked(name).add(label);
  else picked(name).delete(label);
  showPicked();
  draw();
}

/** Ticks in the table, and above charts the chosen methods with their colours. */
function showPicked() {
  const section = sectionOf();
  if (!section) return;
  for (const box of section.querySelectorAll("input.pick")) box.checked = picked().has(box.closest("tr").dataset.label);
  for (const line of section.querySelectorAll(".picked")) {
    const chips = [...picked()].map((label) => {
      const chip = el("button", { type: "button", className: "chip", title: "remove from the charts" }, titleOf(label), " ×");
      chip.style.setProperty("--colour", look(label).color);
      chip.onclick = () => pick(state.place, label, false);
      return chip;
    });
    const rest = place().rows.filter((row) => row.records.length && !picked().has(row.label));
    const add = el("select", { ariaLabel: "add a method" }, el("option", { value: "" }, "Add a method"));
    add.append(...rest.map((row) => el("option", { value: row.label }, row.title)));
    add.onchange = () => pick(state.place, add.value, true);
    line.replaceChildren(...chips, ...(rest.length ? [add] : []));
  }
}
