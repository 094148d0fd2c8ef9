// Brings a part of the page to the form of another, keeping every node that can stay: what has the
// focus, what is selected, what spins and what is scrolled is not disturbed. Gives the node that stands.
function morph(old, fresh) {
  const isSame = old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
  if (!isSame) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return old;
  }
  morphAttributes(old, fresh);
  // A token or key may be new; what a person typed stays.
  if (old.nodeName === "INPUT" && old.type === "hidden") old.value = fresh.value;
  if (old.nodeName === "PROGRESS") old.value = fresh.value;
  morphChildren(old, fresh);
  return old;
}

// What the page itself writes on its nodes, and the reader's own doing, is not the server's to take back.
const KEPT_ATTRIBUTES = ["open", "aria-busy", "data-sent", "data-followed"];

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT_ATTRIBUTES.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

// Children are matched in order; one with an id is matched by it, so that something new before it does not shift it.
function morphChildren(old, fresh) {
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const twin = wanted.id ? [...old.children].find((child) => child.id === wanted.id) : null;
    if (twin && twin !== at) old.insertBefore(twin, at);
    const have = twin || at;
    if (!have) {
      old.append(wanted);
      continue;
    }
    if (!twin && have.id) {
      // Something new stands before a node that has its own place.
      old.insertBefore(wanted, have);
      continue;
    }
    const next = have.nextSibling;
    morph(have, wanted);
    at = next;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

