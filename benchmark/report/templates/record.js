"use strict";

/** The panel with the records behind a cell. */

const panel = document.getElementById("panel");

function show(title, ...content) {
  panel.querySelector("h2").textContent = title;
  panel.querySelector(".body").replaceChildren(...content);
  if (!panel.open) panel.showModal();
  panel.querySelector(".body").scrollTop = 0;
}

function openMethod(name, label, line, key = "") {
  const row = label ? rowOf(label, name) : null;
  const title = row?.title ?? line.querySelector(".name").textContent;
  const parts = [];
  if (key && row?.texts[key]) parts.push(chosenCell(line, key, row.texts[key]));
  for (const found of row?.published ?? []) parts.push(publishedPart(found));
  const records = row?.records ?? [];
  for (const record of records) parts.push(recordPart(record, records.length > 1));
  if (!parts.length) parts.push(el("p", {}, "Nothing here is measured of this row; its source stands under Setting."));
  show(title, ...parts);
}

function chosenCell(line, key, [text, small]) {
  const head = [...line.closest("table").querySelectorAll("tr.heads th")].find((th) => th.dataset.key === key);
  const words = `${head.textContent} ${head.dataset.group}`.trim();
  return el("p", { className: "cell" }, el("span", {}, words), el("b", {}, text), el("span", {}, small));
}

function facts(pairs) {
  const list = el("dl");
  for (const [word, value] of pairs) {
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) continue;
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (text !== "{}") list.append(el("dt", {}, word), el("dd", {}, text));
  }
  return list;
}

function publishedPart(found) {
  const values = Object.entries(data.metrics).map(([, title]) => [title, found[title]]);
  return el("section", {}, el("h3", {}, "Published, shares of 1"), facts([["as", found.title], ["source", found.source], ["protocol", found.protocol], ["note", found.note], ...values]));
}

function recordPart(name, several) {
  const record = data.records[name];
  const { dataset, network, method, cost, provenance } = record;
  const command = el("pre", { className: "command" }, provenance.command);
  const copy = el("button", { type: "button" }, "Copy");
  copy.onclick = () => navigator.clipboard?.writeText(provenance.command).then(() => (copy.textContent = "Copied"));
  const whole = el("details", {}, el("summary", {}, "The whole record"));
  whole.ontoggle = () => whole.open && !whole.querySelector("pre") && whole.append(el("pre", {}, JSON.stringify({ ...record, path: undefined }, null, 1)));
  return el(
    "section",
    { className: "record" },
    el("h3", {}, several ? `Measured, seed ${network.seed}` : "Measured"),
    ...protocolPart(record.metrics),
    el("h4", {}, "Command"), command, copy,
    el("h4", {}, "Dataset"),
    facts([["images", `${dataset.images} of ${dataset.split}`], ["fingerprint", dataset.fingerprint], ["pixels", dataset.pixels], ["validation images", record.validation]]),
    el("h4", {}, "Network"),
    facts([
      ["label", network.label], ["seed", network.seed], ["weights", network.key], ["weights file", network.weights_file],
      ["SHA-256", network.weights_sha256], ["encoder began with", network.pretrained],
      ["mIoU", record.segmentation?.miou], ["test scales", network.scales], ["preparation", network.preparation],
      ["other networks", Object.entries(record.other_networks).map(([role, other]) => `${role}: ${other.key} (${other.weights_sha256})`).join("; ")],
    ]),
    el("h4", {}, "Method"),
    facts([["label", method.label], ["paper", method.paper], ["version", method.version], ["options", method.config], ["outliers in training", method.auxiliary_data], ["fit", method.fit_key], ["SHA-256 of the fit", method.fit_sha256], ["fitted on", method.normal]]),
    el("h4", {}, "Measured with"),
    facts([
      ["date", provenance.date], ["commit", provenance.commit], ["uncommitted changes", provenance.dirty], ["versions", provenance.versions],
      ["device", provenance.device], ["CPU", provenance.cpu], ["threads", provenance.threads], ["precision", provenance.precision],
      ["network ms/image", cost.network_ms], ["method ms/image", cost.method_ms], ["batch", cost.batch_size], ["load", provenance.load],
    ]),
    el("h4", {}, "Files"),
    facts([["record", record.path], ["rows per image", record.rows], ["curves", record.curves]]),
    whole,
  );
}

/** Every protocol of a record with its values as they are stored: fractions. */
function protocolPart(metrics) {
  return Object.entries(metrics).flatMap(([protocol, found]) => {
    const value = (metric) => {
      if (found[metric] === null) return found.missing[metric];
      const ends = found.intervals[metric];
      return `${found[metric]}${ends ? ` [${ends.join(", ")}]` : ""}`;
    };
    const values = Object.entries(data.metrics).map(([metric, title]) => [title, value(metric)]);
    const about = [["images", found.images], ["skipped", found.skipped || null], ["AUPR of a constant score", found.constant_aupr]];
    return [el("h4", {}, `${protocol} v${found.version}, shares of 1`), facts([...values, ...about, ...Object.entries(found.extra)])];
  });
}

panel.querySelector(".close").onclick = () => panel.close();
panel.onclick = (event) => event.target === panel && panel.close();
