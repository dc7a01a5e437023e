// Light or dark, before the first paint: "auto" follows the system. A classic script, so that nothing flashes.
"use strict";
(() => {
  const KEY = "mockrelay.theme";
  const CHOICES = ["auto", "light", "dark"];
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off
    }
  };
  const show = (choice) => {
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
  };
  const state = { choice: CHOICES.includes(kept()) ? kept() : "auto" };
  show(state.choice);
  window.mockrelayTheme = {
    get choice() {
      return state.choice;
    },
    next() {
      state.choice = CHOICES[(CHOICES.indexOf(state.choice) + 1) % CHOICES.length];
      show(state.choice);
      try {
        localStorage.setItem(KEY, state.choice);
      } catch {
        // It holds for this page alone then.
      }
      window.dispatchEvent(new Event("themechange"));
      return state.choice;
    },
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    window.dispatchEvent(new Event("themechange"));
  });
})();
