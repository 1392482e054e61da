"use strict";

/** Heat maps of several methods side by side, with one slider for all. */

const START = 0.05; // false-positive rate at which the slider begins
const HIT = [0, 158, 115], ALARM = [213, 94, 0], MISS = [204, 121, 167];
const heat = { image: 0, code: Math.round(255 * (1 - Math.cbrt(START))), mode: "heat", decoded: {} };

/** The grey values of a picture in the page, one a pixel; of a photograph, its colours. */
async function decode(address, colours = false) {
  heat.decoded[address] ??= (async () => {
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const canvas = el("canvas", { width: picture.width, height: picture.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  })();
  const found = await heat.decoded[address];
  return colours ? found : { width: found.width, height: found.height, data: found.data.filter((_, i) => i % 4 === 0) };
}

function showMaps(section) {
  const target = section.querySelector(".maps");
  const maps = place().maps;
  if (!maps || target.dataset.done) return maps && drawMaps(target);
  target.dataset.done = "yes";
  const thumbs = maps.images.map((image, i) => {
    const button = el("button", { type: "button", className: "thumb", title: image.id }, el("img", { src: image.photo, alt: image.id, loading: "lazy" }));
    button.onclick = () => {
      heat.image = i;
      drawMaps(target);
    };
    return button;
  });
  const slider = el("input", { type: "range", min: 0, max: 255, value: heat.code, ariaLabel: "threshold of all methods" });
  slider.oninput = () => {
    heat.code = Number(slider.value);
    drawMaps(target);
  };
  const mode = el("select", { ariaLabel: "colours" }, el("option", { value: "heat" }, "heat map"), el("option", { value: "marks" }, "hits and false alarms"));
  mode.onchange = () => {
    heat.mode = mode.value;
    drawMaps(target);
  };
  target.append(
    el("div", { className: "thumbs" }, ...thumbs),
    el("div", { className: "picked" }),
    el("div", { className: "tools" }, el("label", { className: "slider" }, "Threshold ", slider), el("output"), el("label", {}, "Show ", mode)),
    el("div", { className: "grid" }),
    el("p", { className: "legend" }, "The slider sets, for every method, the lowest stored threshold whose false-positive rate over all images of the set does not exceed that value. Heat: the rate at which a pixel is called anomalous, the rarer the brighter, fainter below the threshold; anomalies are outlined. Marks: green found, orange false alarm, pink missed."),
  );
  showPicked();
  heat.image = 0;
  return drawMaps(target);
}

async function drawMaps(target) {
  const maps = place().maps;
  const image = maps.images[heat.image] ?? maps.images[0];
  const wanted = maps.methods.filter((label) => picked().has(label) && image.maps[label]);
  const shown = wanted.length ? wanted : maps.methods.filter((label) => image.maps[label]);
  const { code } = heat;
  const level = maps.levels[code];
  target.querySelector("output").textContent = `false positives of all images: at most ${level < 0.01 ? level.toExponential(0) : level.toPrecision(2)} %`;
  [...target.querySelectorAll(".thumb")].forEach((thumb, i) => thumb.toggleAttribute("aria-current", maps.images[i] === image));
  const [photo, labels, ...codes] = await Promise.all([decode(image.photo, true), decode(image.labels), ...shown.map((label) => decode(image.maps[label]))]);
  if (image !== maps.images[heat.image] || code !== heat.code) return; // moved on meanwhile
  const figures = shown.map((label, i) => {
    const words = `AUPR of this image ${image.aupr[label]}; in all images ${maps.rates[label].tpr[code]} % found at ${maps.rates[label].fpr[code]} % false positives`;
    return figure(titleOf(label), words, paint(photo, labels, codes[i], maps.colours, code));
  });
  target.querySelector(".grid").replaceChildren(figure(image.id, "the image, anomalies outlined", paint(photo, labels)), ...figures);
}

function figure(title, words, canvas) {
  return el("figure", {}, canvas, el("figcaption", {}, el("b", {}, title), " ", el("span", {}, words)));
}

/** A canvas with the photograph or, given codes, what a method makes of it at a place of the slider. */
function paint(photo, labels, codes, colours, threshold) {
  const { width, height } = photo;
  const canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d");
  const out = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const at = 4 * i;
    let rgb = [photo.data[at], photo.data[at + 1], photo.data[at + 2]];
    if (codes) {
      const grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
      const over = codes.data[i] >= threshold;
      const mix = (colour, share) => colour.map((value) => share * value + (1 - share) * grey);
      if (heat.mode === "heat") rgb = mix(colours[codes.data[i]], over ? 0.9 : 0.45);
      else if (labels.data[i] === 1) rgb = mix(over ? HIT : MISS, 0.75);
      else rgb = over && labels.data[i] === 0 ? mix(ALARM, 0.75) : mix([grey, grey, grey], 1);
    }
    if (heat.mode === "heat" || !codes) if (isEdge(labels, i)) rgb = [255, 60, 0];
    out.data.set([...rgb, 255], at);
  }
  context.putImageData(out, 0, 0);
  return canvas;
}

function isEdge({ data, width }, i) {
  return data[i] === 1 && (data[i + 1] !== 1 || data[i - 1] !== 1 || data[i + width] !== 1 || data[i - width] !== 1);
}
