
// A form with data-unsaved: counts the fields that differ from what the page came with, marks them, and asks
// before the page is left with them. Without script the form is the same, only nobody counts.
function unsaved(form) {
  const told = form.querySelector("[data-unsaved-count]");
  const discard = form.querySelector("[data-discard]");
  const calm = told.textContent;
  const isEdited = (field) => {
    if (field.type === "checkbox") return field.checked !== field.defaultChecked;
    if (field.nodeName === "SELECT") return [...field.options].some((option) => option.selected !== option.defaultSelected);
    return field.nodeName === "INPUT" && field.type !== "hidden" && field.value !== field.defaultValue;
  };
  let edits = 0;
  const count = () => {
    edits = 0;
    for (const field of form.elements) {
      const edited = isEdited(field);
      field.classList.toggle("is-edited", edited);
      edits += edited;
    }
    const words = edits === 1 ? "1 unsaved change on this page" : `${edits} unsaved changes on this page`;
    told.textContent = edits ? words : calm;
    told.parentElement.classList.toggle("has-edits", edits > 0);
    discard.hidden = edits === 0;
  };
  form.addEventListener("input", count);
  form.addEventListener("reset", () => setTimeout(count));
  form.addEventListener("submit", () => { edits = 0; });
  addEventListener("beforeunload", (event) => { if (edits) event.preventDefault(); });
  addEventListener("pageshow", count);
}

document.querySelectorAll("form[data-unsaved]").forEach(unsaved);
