//! The list of who is here, and how a name looks.

export const at = (id) => document.getElementById(id);
export const el = (tag, className, text = '') =>
  Object.assign(document.createElement(tag), { className, textContent: text });

/** Keeps the direction of a name's letters to itself, where there are no elements for it. */
export const isolate = (text) => `\u2068${text}\u2069`;

let people = [];

/** The names in the list. */
export const names = () => people;

/** Shows the answer to a `who`; `me` comes first and cannot be written to. */
export function showPeople({ clients, users, more }, me) {
  at('count').textContent = at('here-count').textContent = clients;
  const rest = clients - users.length;
  at('people-note').hidden = !more && rest <= 0;
  at('people-note').textContent = more ? `The first ${users.length} are shown.`
    : `${rest} more ${rest === 1 ? 'connection' : 'connections'} without a name of their own.`;
  const sorted = [...users].sort((a, b) => (b === me) - (a === me) || a.localeCompare(b));
  if (sorted.join('\n') === people.join('\n')) return;
  people = sorted;
  const focused = document.activeElement?.dataset.name;
  at('people').replaceChildren(...people.map((name) => person(name, name === me)));
  // The list was made anew under the reader's hands.
  const buttons = [...at('people').querySelectorAll('button')];
  if (focused) buttons.find((button) => button.dataset.name === focused)?.focus();
}

function person(name, mine) {
  const item = el('li', '');
  const row = el(mine ? 'div' : 'button', 'person');
  row.append(face(el('span', 'face'), name), el('bdi', 'name', name));
  if (mine) row.append(el('span', 'me', 'you'));
  else {
    Object.assign(row, { type: 'button', title: `Write to ${isolate(name)} alone` });
    row.dataset.name = name;
  }
  item.append(row);
  return item;
}

/** Splits `/to NAME text`; a name with spaces is one of those here, or in quotes. */
export function address(text, user) {
  if (!/^\/to(\s|$)/.test(text)) return { user, body: text };
  const rest = text.slice(3).trim();
  const known = people.filter((name) => rest.startsWith(`${name} `))
    .sort((a, b) => b.length - a.length)[0];
  if (known) return { user: known, body: rest.slice(known.length).trim() };
  const [, quoted, plain, body] = rest.match(/^(?:"([^"]+)"|(\S+))\s+([^]+)$/) ?? [];
  return { user: quoted ?? plain, body };
}

/** Shows whose page this is. Returns the name. */
export function showMe(name) {
  at('you').textContent = name;
  face(at('you-face'), name);
  return name;
}

/** Turns `node` into the badge of a name: its initials on its own colour. */
export function face(node, name) {
  let hue = 7;
  for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
  node.style.setProperty('--hue', hue);
  node.setAttribute('aria-hidden', 'true');
  const words = name.split(/[\s\p{P}]+/u).filter(Boolean);
  const initials = [words[0] ?? '?', ...words.slice(1).slice(-1)].map((word) => [...word][0]);
  node.textContent = initials.join('').toUpperCase();
  return node;
}
