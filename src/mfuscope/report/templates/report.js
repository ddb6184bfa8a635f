// Filters the rows of a section's tables by the typed text, and shows its folded rows.
"use strict";
for (const input of document.querySelectorAll("input[data-search]")) {
  const section = document.getElementById(input.dataset.search);
  const rows = [...section.querySelectorAll("tbody tr")];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    section.classList.toggle("searching", words.length > 0);
    for (const row of rows) {
      const name = row.querySelector("th");
      const text = (row.textContent + " " + (name ? name.title : "")).toLowerCase();
      row.classList.toggle("miss", !words.every((word) => text.includes(word)));
    }
  });
}
for (const button of document.querySelectorAll("button[data-all]")) {
  const section = document.getElementById(button.dataset.all);
  button.addEventListener("click", () => {
    const all = section.classList.toggle("all");
    button.textContent = all ? "Show the longest only" : "Show all rows";
  });
}
