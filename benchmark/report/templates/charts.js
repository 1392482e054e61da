"use strict";

/** Charts. Plotly is unpacked when the first one is drawn. */

let plotly = null;

async function loadPlotly() {
  const packed = document.getElementById("plotly").textContent;
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = el("script", { textContent: await new Response(stream).text() });
  document.head.append(script);
}

/** Plotly reads tags and places for values in texts; ours have none. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "%&#123;");
}

function shorter(text, most = 34) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line, page] = ["--ink", "--soft", "--line", "--page"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: soft, tickcolor: soft, automargin: true };
  const { xaxis, yaxis, ...rest } = more;
  return {
    font: { color: ink, family: "system-ui, sans-serif", size: 12.5 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 16, t: 34, b: 48 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
    hoverlabel: { bgcolor: page, bordercolor: soft, font: { color: ink } },
    showlegend: false,
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...rest,
  };
}

const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
const LOG = { type: "log", tickvals: TICKS, ticktext: TICKS.map(String) };
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };

async function plot(target, traces, more) {
  plotly ??= loadPlotly();
  await plotly;
  await Plotly.react(target, traces, layout(more), CONFIG);
}

function drawCurves(section) {
  const { methods, constant } = place().curves;
  const labels = [...picked()].filter((label) => methods[label]);
  const line = (label, x, y, shape, words) => ({
    x: methods[label][x], y: methods[label][y], name: plain(titleOf(label)), mode: "lines", line: { ...look(label), width: 2, shape },
    customdata: methods[label].threshold.map((threshold, i) => [threshold, methods[label][y][i], methods[label][x][i]]),
    hovertemplate: `<b>${plain(titleOf(label))}</b><br>${words[0]} %{customdata[2]:.1f}, ${words[1]} %{customdata[1]:.1f}<br>threshold %{customdata[0]}<extra></extra>`,
  });
  const grey = { color: "#888", width: 1, dash: "dot" };
  const chance = (y) => ({ x: [0, 100], y, mode: "lines", line: grey, hoverinfo: "skip" });
  const range = [0, 101];
  plot(section.querySelector(".precision"), [
    ...labels.map((label) => line(label, "recall", "precision", "vh", ["recall", "precision"])),
    ...(constant ? [chance([constant, constant])] : []),
  ], { title: { text: "Precision-recall", font: { size: 14 } }, xaxis: { title: { text: "recall, %" }, range }, yaxis: { title: { text: "precision, %" }, range } });
  plot(section.querySelector(".roc"), [
    ...labels.map((label) => line(label, "fpr", "recall", "linear", ["false positives", "true positives"])),
    chance([0, 100]),
    chance([95, 95]),
  ], { title: { text: "ROC", font: { size: 14 } }, xaxis: { title: { text: "false-positive rate, %" }, range }, yaxis: { title: { text: "true-positive rate, %" }, range } });
}

function drawRanks(section) {
  const view = section.querySelector('[data-view="ranks"]');
  const metric = view.querySelector(".metric").value;
  const how = view.querySelector(".how").value;
  const found = place().stability[metric];
  const names = found.labels.map((label) => plain(shorter(titleOf(label), innerWidth < 600 ? 18 : 34)));
  const places = found.labels.map((_, i) => i);
  const of = (i) => plain(titleOf(found.labels[i]));
  const pairs = how === "better";
  const text = found[how].map((line, i) => line.map((share, j) => pairs
    ? (i === j ? "" : `<b>${of(i)}</b> is better than <b>${of(j)}</b><br>on ${share} % of the resamples`)
    : `<b>${of(i)}</b>: rank ${j + 1} on ${share} % of the resamples<br>median rank ${found.median[i]}, 95 % from ${found.low[i]} to ${found.high[i]}`));
  const z = found[how].map((line, i) => line.map((share, j) => (pairs ? (i === j ? null : share) : share || null)));
  const traces = [{
    type: "heatmap", z, x: places.map((i) => i + 1), y: places, text, hovertemplate: "%{text}<extra></extra>",
    colorscale: pairs ? [[0, "#b2523c"], [0.5, isDark() ? "#2a2f36" : "#f4f4f2"], [1, "#2b7bba"]] : [[0, isDark() ? "#1f2a36" : "#e6eef7"], [1, isDark() ? "#7cc0ff" : "#08519c"]],
    zmin: 0, zmax: 100, xgap: 1, ygap: 1, showscale: innerWidth > 600, colorbar: { title: { text: "%" }, thickness: 10, outlinewidth: 0 },
  }];
  if (!pairs) {
    traces.push({
      x: found.median, y: places, mode: "markers", marker: { size: 5, color: isDark() ? "#fff" : "#111" }, hoverinfo: "skip",
      error_x: { type: "data", symmetric: false, array: found.high.map((v, i) => v - found.median[i]), arrayminus: found.median.map((v, i) => v - found.low[i]), thickness: 1, width: 3 },
    });
  }
  view.querySelector(".legend").textContent = pairs
    ? `On how many of ${found.draws} resamples of the ${found.images} images the method of the line has a better ${data.metrics[metric]} than that of the column; ${place().protocol}.`
    : `The ${found.images} images drawn ${found.draws} times with replacement, the same ones for all methods: how often each method has which rank by ${data.metrics[metric]} (${place().protocol}); dots and bars: median and 95 %. Every measured row takes part, also those that saw outliers in training.`;
  plot(view.querySelector(".chart"), traces, {
    height: 110 + 21 * names.length, margin: { l: 20, r: 10, t: 32, b: 48 },
    xaxis: { title: { text: pairs ? "against the method of this place" : "rank" }, range: [0.4, names.length + 0.6], showgrid: false, zeroline: false },
    yaxis: { tickvals: places, ticktext: names, autorange: "reversed", showgrid: false, zeroline: false },
  });
}

/** The points that no other one beats in both. */
function front(points, larger) {
  const better = (one, other) => (larger ? one.y > other.y : one.y < other.y);
  const sorted = [...points].sort((one, other) => one.x - other.x || (better(one, other) ? -1 : 1));
  const kept = [];
  for (const point of sorted) if (!kept.length || better(point, kept.at(-1))) kept.push(point);
  return kept;
}

function drawCosts(section) {
  const view = section.querySelector('[data-view="costs"]');
  const select = view.querySelector(".metric");
  const key = select.value;
  const words = select.selectedOptions[0].textContent;
  const points = place().rows
    .map((row) => ({ row, x: row.values.cost, y: row.values[key] }))
    .filter((point) => point.x > 0 && point.y !== null && point.y !== undefined);
  const best = front(points, !key.endsWith("fpr95"));
  const onLine = new Set(best.map((point) => point.row.label));
  plot(view.querySelector(".chart"), [
    { x: best.map((p) => p.x), y: best.map((p) => p.y), mode: "lines", line: { color: "#888", width: 1.5, dash: "dot", shape: "hv" }, hoverinfo: "skip" },
    {
      x: points.map((p) => p.x), y: points.map((p) => p.y), mode: "markers+text", textposition: "top center", textfont: { size: 11 },
      text: points.map((p) => (onLine.has(p.row.label) ? plain(shorter(p.row.title, 26)) : "")), cliponaxis: false,
      marker: { size: 10, color: points.map((p) => look(p.row.label).color), opacity: points.map((p) => (onLine.has(p.row.label) ? 1 : 0.55)), symbol: points.map((p) => (p.row.kind === "Outlier exposure" ? "diamond" : "circle")) },
      customdata: points.map((p) => [plain(p.row.title), p.row.texts[key].join(" "), p.row.texts.cost[0], p.row.label, p.row.kind]),
      hovertemplate: `<b>%{customdata[0]}</b> (%{customdata[4]})<br>${words}: %{customdata[1]}<br>%{customdata[2]} ms/image<extra></extra>`,
    },
  ], { height: 480, xaxis: { ...LOG, title: { text: "ms/image, networks + method" } }, yaxis: { title: { text: `${words}, %` } } });
  onPoint(view.querySelector(".chart"));
}

/** A click on a point opens the record. */
async function onPoint(chart) {
  await plotly;
  chart.removeAllListeners?.("plotly_click");
  chart.on?.("plotly_click", ({ points: [point] }) => point.customdata && openMethod(state.place, point.customdata[3]));
}

function drawFailures(section) {
  const view = section.querySelector('[data-view="failures"]');
  const points = place().failures.filter((point) => point.efpr > 0 && point.cfpr > 0);
  const low = Math.min(10, ...points.flatMap((point) => [point.efpr, point.cfpr])) / 1.3;
  const range = [Math.log10(low), Math.log10(115)];
  plot(view.querySelector(".chart"), [
    { x: [low, 100], y: [low, 100], mode: "lines", line: { color: "#888", width: 1, dash: "dot" }, hoverinfo: "skip" },
    {
      x: points.map((p) => p.cfpr), y: points.map((p) => p.efpr), mode: "markers", marker: { size: 10, color: points.map((p) => look(p.label).color) },
      customdata: points.map((p) => [plain(titleOf(p.label)), p.efpr.toFixed(1), p.cfpr.toFixed(1), p.label]),
      hovertemplate: "<b>%{customdata[0]}</b><br>wrongly classified %{customdata[1]}<br>correctly classified %{customdata[2]}<extra></extra>",
    },
  ], { height: 480, xaxis: { ...LOG, range, title: { text: "false alarms on correctly classified pixels, %" } }, yaxis: { ...LOG, range, title: { text: "on wrongly classified pixels, %" } } });
  onPoint(view.querySelector(".chart"));
}

function drawStrata(section) {
  const view = section.querySelector('[data-view="sizes"]');
  const found = place().strata;
  if (!found) return;
  const metric = view.querySelector(".metric").value;
  const values = found.values[metric];
  const x = found.names.map((name, i) => `${name}<br>${found.images[i]} images`);
  const known = (text) => (Number.isNaN(Number(text)) ? null : Number(text));
  const traces = [...picked()].filter((label) => values[label]).map((label) => ({
    x, y: values[label].map(known), name: plain(titleOf(label)), mode: "lines+markers", line: { ...look(label), width: 2 }, text: values[label],
    hovertemplate: `<b>${plain(titleOf(label))}</b><br>${data.metrics[metric]} %{text}<extra></extra>`,
  }));
  if (metric === "aupr") traces.push({ x, y: found.constant.map(Number), name: "constant score", mode: "lines", line: { color: "#888", width: 1, dash: "dot" }, text: found.constant, hovertemplate: "AUPR of a constant score %{text}<extra></extra>" });
  plot(view.querySelector(".chart"), traces, { height: 420, xaxis: { type: "category", title: { text: "anomalous share of the image's pixels" } }, yaxis: { title: { text: `${data.metrics[metric]}, %` }, rangemode: "tozero" } });
}

const DRAW = { ranks: drawRanks, curves: drawCurves, costs: drawCosts, failures: drawFailures, sizes: drawStrata, images: showMaps };

function draw() {
  const section = sectionOf();
  if (section && DRAW[state.tab]) DRAW[state.tab](section);
}
