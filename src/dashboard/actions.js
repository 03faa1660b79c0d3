// Actions: each is a form in a dialog, asks once more, calls the API and says what came of it.

import { count } from './format.js';

const $ = (id) => document.getElementById(id);

const clients = (result) => (result.clients === 1 ? '1 client' : `${count(result.clients)} clients`);

const about = ({ kind, name }) => JSON.stringify({ [kind]: name });

/** Fields are `[name, label, options]`; `lead` and `sure` say what happens, in the words of the second question. */
const ACTIONS = {
  publish: {
    title: 'Publish', go: 'Publish', lead: 'Every client of the channel hears it at once.',
    fields: [['channel', 'Channel', { value: 'lobby' }], ['data', 'Data: JSON, or a text', { rows: 3 }]],
    sure: ({ channel }) => `Publish this to every client of ${channel}?`,
    body: ({ channel, data }) => `{"channel":${JSON.stringify(channel)},"data":${jsonOf(data)}}`,
    done: (result, { channel }) => `Published to ${channel} as number ${result.offset}.`,
  },
  disconnect: {
    title: 'Disconnect', go: 'Disconnect', danger: true,
    lead: 'The clients are closed with code 3501. They may connect again, unless their token is revoked.',
    fields: [['kind', 'Whom', { choices: [['user', 'all clients of a user'], ['client', 'one client by its id']] }],
      ['name', 'User or client', {}]],
    sure: ({ kind, name }) => (kind === 'user' ? `Close all clients of user ${name}?` : `Close client ${name}?`),
    body: about,
    done: (result) => `Closed ${clients(result)}.`,
  },
  revoke: {
    title: 'Revoke tokens', go: 'Revoke', danger: true,
    lead: 'Tokens issued up to now are refused from here on, and their clients are closed with code 3502.',
    fields: [['kind', 'Which tokens', { choices: [['user', 'all of a user'], ['token', 'one by its id (jti)']] }],
      ['name', 'User or id', {}]],
    sure: ({ kind, name }) => (kind === 'user' ? `Revoke all tokens of user ${name}?` : `Revoke token ${name}?`),
    body: about,
    done: (result) => `Revoked, and closed ${clients(result)}.`,
  },
  reload: {
    title: 'Reload', go: 'Reload', fields: [],
    lead: 'Rules of channels, files of keys and certificates are read again. If anything is wrong, all stays as it is.',
    sure: () => 'Read the settings again and put them in force?',
    body: () => '{}',
    done: (result) => `Reloaded: ${result.namespaces} namespaces are in force.`,
  },
  drain: {
    title: 'Drain', go: 'Drain the server', danger: true,
    lead: 'As after SIGTERM: the server accepts nobody, closes its clients one after the other, and ends. It cannot be taken back.',
    fields: [['word', 'Write "drain" to go on', { pattern: 'drain' }]],
    sure: () => 'Close all clients and end this process?',
    body: () => '{}',
    done: () => 'The server drains.',
  },
};

/** JSON goes as it is written, with all digits of its numbers; anything else is a text. */
export function jsonOf(data) {
  try {
    JSON.parse(data);
    return data;
  } catch {
    return JSON.stringify(data);
  }
}

function field([name, label, { choices, rows, value = '', pattern }]) {
  const id = `field-${name}`;
  const mark = document.createElement('label');
  mark.htmlFor = id;
  mark.textContent = label;
  const input = document.createElement(choices ? 'select' : rows ? 'textarea' : 'input');
  Object.assign(input, { id, name, required: true, spellcheck: false });
  if (rows) input.rows = rows;
  if (pattern) input.pattern = pattern;
  for (const [option, text] of choices ?? []) input.append(new Option(text, option));
  if (!choices) input.value = value;
  return [mark, input];
}

export class Actions {
  /** `call(method, body)` calls the API and throws an `Error` for people. */
  constructor(call) {
    this.call = call;
    this.dialog = $('dialog');
    this.form = $('dialog-form');
    for (const button of document.querySelectorAll('[data-action]')) {
      button.addEventListener('click', () => this.open(button.dataset.action));
    }
    $('dialog-cancel').addEventListener('click', () => this.dialog.close());
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.submit();
    });
    document.addEventListener('disconnect', (event) => {
      this.open('disconnect', { kind: 'client', name: event.detail.client });
    });
  }

  /** Opens the form of an action, filled in as far as it is known. */
  open(name, known = {}) {
    this.name = name;
    this.action = ACTIONS[name];
    this.values = null;
    const { title, lead, go, danger, fields } = this.action;
    $('dialog-title').textContent = title;
    $('dialog-lead').textContent = lead;
    $('dialog-error').textContent = '';
    $('dialog-fields').hidden = false;
    $('dialog-fields').replaceChildren(...fields.flatMap(field));
    for (const [key, value] of Object.entries(known)) this.form.elements[key].value = value;
    this.button(fields.length ? 'Next' : go, danger && !fields.length);
    if (!fields.length) this.ask({});
    this.dialog.showModal();
  }

  button(text, danger) {
    const go = $('dialog-go');
    go.textContent = text;
    go.disabled = false;
    go.classList.toggle('danger', Boolean(danger));
  }

  /** The second question. */
  ask(values) {
    this.values = values;
    const { sure, go, danger, fields } = this.action;
    if (fields.length) $('dialog-lead').textContent = this.action.lead;
    $('dialog-title').textContent = sure(values);
    $('dialog-fields').hidden = true;
    this.button(go, danger);
    // Enter does not answer a question that nobody has read.
    $('dialog-cancel').focus();
  }

  async submit() {
    if (!this.values) {
      this.ask(Object.fromEntries(new FormData(this.form)));
      return;
    }
    $('dialog-go').disabled = true;
    try {
      const result = await this.call(this.name, this.action.body(this.values));
      $('outcome').textContent = this.action.done(result, this.values);
      this.dialog.close();
    } catch (error) {
      $('dialog-error').textContent = error.message;
      $('dialog-fields').hidden = false;
      $('dialog-title').textContent = this.action.title;
      this.values = this.action.fields.length ? null : this.values;
      this.button(this.values ? this.action.go : 'Next', false);
    }
  }
}
