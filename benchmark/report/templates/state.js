"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999933", "#a6761d", "#1b9e9e"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const FIRST = 6; // methods in charts before anything is chosen
const state = { place: "", tab: "table", picked: {} };

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function place(name = state.place) {
  return data.places[name];
}

function rowOf(label, name = state.place) {
  return place(name).rows.find((row) => row.label === label);
}

function titleOf(label, name = state.place) {
  return rowOf(label, name)?.title ?? label;
}

function sectionOf(name = state.place) {
  return [...document.querySelectorAll("section.place")].find((section) => section.dataset.place === name);
}

/** The methods shown in charts, at first the best ones that saw no outliers in training. */
function picked(name = state.place) {
  if (!state.picked[name]) {
    const fair = place(name).rows.filter((row) => row.records.length && row.kind !== "Outlier exposure");
    const measured = fair.length ? fair : place(name).rows.filter((row) => row.records.length);
    const value = (row) => row.values["measured.aupr"] ?? row.values["pooled.aupr"] ?? -1;
    const best = [...measured].sort((one, other) => value(other) - value(one)).slice(0, FIRST);
    state.picked[name] = new Set(best.map((row) => row.label));
  }
  return state.picked[name];
}

/** Colour and dashes of a method: the same in every chart of a board, whatever else is shown. */
function look(label, name = state.place) {
  const number = place(name).rows.findIndex((row) => row.label === label);
  return { color: COLOURS[number % COLOURS.length], dash: DASHES[Math.floor(number / COLOURS.length) % DASHES.length] };
}

function isDark() {
  const forced = document.documentElement.dataset.theme;
  return forced ? forced === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function remember(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch {
    // a page opened from a file may have no storage
  }
  return null;
}
