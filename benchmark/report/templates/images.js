"use strict";

/** The images of a board, worst or best first. */

const PAGE = 25;
const shownImages = {};

function setUpImages(section) {
  const view = section.querySelector('[data-view="images"]');
  if (!view) return;
  const { rows, images } = place(section.dataset.place);
  const measured = rows.filter((row) => images.values.aupr[row.label]);
  for (const [name, first] of [["method", 0], ["against", null]]) {
    const select = view.querySelector(`.${name}`);
    select.append(...measured.map((row) => el("option", { value: row.label }, row.title)));
    if (first !== null) select.selectedIndex = first;
  }
  for (const select of view.querySelectorAll(":scope > .tools select")) {
    select.onchange = () => {
      shownImages[section.dataset.place] = PAGE;
      listImages(section);
    };
  }
  view.querySelector(".more").onclick = () => {
    shownImages[section.dataset.place] += PAGE;
    listImages(section);
  };
  shownImages[section.dataset.place] = PAGE;
}

function listImages(section) {
  const view = section.querySelector('[data-view="images"]');
  const { images, protocol } = place();
  const [method, against, metric, order] = ["method", "against", "metric", "order"].map((name) => view.querySelector(`:scope > .tools .${name}`).value);
  const own = images.values[metric][method];
  const other = against ? images.values[metric][against] : null;
  const sign = (metric === "fpr95" ? -1 : 1) * (order === "best" ? -1 : 1);
  const key = (i) => Number(own[i]) - (other ? Number(other[i]) : 0);
  const known = images.ids.map((_, i) => i).filter((i) => !Number.isNaN(key(i)));
  known.sort((i, j) => sign * (key(i) - key(j)) || i - j);
  const title = data.metrics[metric];
  const heads = ["Image", `${title}, ${titleOf(method)}`, ...(other ? [`${title}, ${titleOf(against)}`] : []), "anomalous pixels", "share"];
  view.querySelector("thead").replaceChildren(el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head))));
  const lines = known.slice(0, shownImages[state.place]).map((i) => {
    const name = el("button", { type: "button", className: "name" }, images.ids[i]);
    name.onclick = () => openImage(i);
    const share = (100 * images.anomalous[i]) / (images.anomalous[i] + images.normal[i]);
    const cells = [own[i], ...(other ? [other[i]] : []), String(images.anomalous[i]), `${share.toFixed(2)} %`];
    return el("tr", {}, el("th", { scope: "row" }, name), ...cells.map((text) => el("td", {}, text)));
  });
  view.querySelector("tbody").replaceChildren(...lines);
  view.querySelector(".more").hidden = lines.length >= known.length;
  const left = images.ids.length - known.length;
  view.querySelector(":scope > .legend").textContent =
    `${lines.length} of ${known.length} images, ${other ? "by the difference" : `${order} first`}, in percent under ${protocol}` +
    `${left ? `; ${left} hold one kind of pixel only` : ""}. An image's name shows what every method makes of it.` +
    `${place().maps ? "" : " These results hold values per image but no heat maps: those take score maps (infer) and the images."}`;
}

/** What every method makes of an image. */
function openImage(i) {
  const { images, rows, protocol } = place();
  const metrics = Object.keys(data.metrics);
  const lines = rows
    .filter((row) => images.values.aupr[row.label])
    .map((row) => ({ row, texts: metrics.map((metric) => images.values[metric][row.label][i]) }))
    .sort((one, other) => Number(other.texts[0]) - Number(one.texts[0]));
  const body = lines.map(({ row, texts }) => {
    const name = el("button", { type: "button", className: "name" }, row.title);
    name.onclick = () => openMethod(state.place, row.label);
    return el("tr", {}, el("th", { scope: "row" }, name), ...texts.map((text) => el("td", {}, text)));
  });
  const heads = ["Method", ...Object.values(data.metrics)].map((title) => el("th", { scope: "col" }, title));
  show(
    images.ids[i],
    el("p", { className: "legend" }, `${images.anomalous[i]} anomalous, ${images.normal[i]} normal, ${images.ignored[i]} ignored pixels; ${protocol}, percent.`),
    el("div", { className: "scroll" }, el("table", { className: "protocols" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...body))),
  );
}
