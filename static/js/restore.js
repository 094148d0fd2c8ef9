
// Whoever types a moment, chooses a backup or names a place means that way: its card is chosen with it.
document.addEventListener("input", (event) => {
  const way = event.target.closest?.(".restore-way")?.querySelector("input[name=\"to\"]");
  if (way && event.target !== way) way.checked = true;
});
