// The box that prints everything opens what is folded, and folds it again.
document.addEventListener("DOMContentLoaded", () => {
  const everything = document.getElementById("everything");
  let opened = [];
  everything.onchange = () => {
    if (everything.checked) opened = [...document.querySelectorAll("details:not([open])")];
    for (const e of opened) e.open = everything.checked;
  };
});
