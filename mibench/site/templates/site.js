"use strict";
// Light or dark, and buttons that copy commands. Pages are complete without it.
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("mibench-theme"); } catch { return null; } };
  const theme = stored();
  if (theme) root.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("mibench-theme", root.dataset.theme); } catch { /* private mode */ }
  });
  for (const code of document.querySelectorAll("[data-copy]")) {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "copy";
    copy.textContent = "copy";
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(code.textContent); copy.textContent = "copied"; }
      catch { getSelection().selectAllChildren(code); copy.textContent = "selected"; }
      setTimeout(() => { copy.textContent = "copy"; }, 1500);
    });
    code.after(copy);
  }
})();
