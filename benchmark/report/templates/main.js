"use strict";

/** Which board and which view are shown, by the address behind the #: "#/board/view". */

const THEMES = ["system", "light", "dark"];

function route() {
  const [, ...parts] = location.hash.split("/");
  const tab = parts.length > 1 ? parts.at(-1) : "table";
  const name = decodeURIComponent((parts.length > 1 ? parts.slice(0, -1) : parts).join("/"));
  state.place = name in data.places ? name : "";
  document.getElementById("overview").hidden = Boolean(state.place);
  document.getElementById("places").value = state.place;
  for (const section of document.querySelectorAll("section.place")) section.classList.toggle("shown", section.dataset.place === state.place);
  if (!state.place) return;
  const section = sectionOf();
  const tabs = [...section.querySelectorAll(".tabs a")];
  state.tab = tabs.some((each) => each.dataset.tab === tab) ? tab : tabs[0]?.dataset.tab;
  for (const each of tabs) each.toggleAttribute("aria-current", each.dataset.tab === state.tab);
  for (const view of section.querySelectorAll(".view")) view.hidden = view.dataset.view !== state.tab;
  showPicked();
  if (state.tab === "images") listImages(section);
  draw();
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
}

function setUp() {
  for (const section of document.querySelectorAll("section.place")) {
    const name = encodeURI(section.dataset.place);
    for (const tab of section.querySelectorAll(".tabs a")) tab.href = `#/${name}/${tab.dataset.tab}`;
    setUpTable(section);
    setUpImages(section);
    for (const select of section.querySelectorAll('.view:not([data-view="images"]) .tools select')) select.onchange = draw;
  }
  document.getElementById("places").onchange = (event) => {
    location.hash = event.target.value ? `#/${encodeURI(event.target.value)}/${state.tab ?? "table"}` : "#/";
  };
  let theme = remember("report-theme") ?? "system";
  setTheme(THEMES.includes(theme) ? theme : "system");
  document.getElementById("theme").onclick = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember("report-theme", theme);
    setTheme(theme);
    draw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  addEventListener("hashchange", route);
  route();
}

setUp();
