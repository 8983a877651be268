// What the flows of the dashboard share: the server that is driven, the browser's pages, signing in, asking the server by itself.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export const [origin, key, flow, folder = ''] = process.argv.slice(2);
export const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>{{7*7}}\'"';
const patience = 120_000; // for a machine that does ten other things
export const title = (name) => name[0].toUpperCase() + name.slice(1);

/** Without motion, which has to be waited for: whoever looks at it asks for it. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', ...options });
  return { context, ...(await openPage(context)) };
}

export async function openPage(context) {
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (e) => faults.push(e.message));
  page.on('console', (m) => { if (/Content Security Policy|Refused to/.test(m.text())) faults.push(m.text()); });
  page.on('request', (r) => { if (!r.url().startsWith(origin) && !/^(data|blob):/.test(r.url())) faults.push(`asked ${r.url()}`); });
  page.setDefaultTimeout(patience);
  page.setDefaultNavigationTimeout(patience);
  return { page, faults };
}

export async function useKey(page, text) {
  await page.getByText('Admin key').first().click();
  await page.getByRole('textbox', { name: 'Admin key' }).fill(text);
}

const password = 'a long enough password';

/** With the form, by the key: gone when the page is loaded anew. */
export async function signInByKey(page, path = '/dashboard/') {
  await page.goto(origin + path);
  await useKey(page, key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
}

/** With the form, by the password: a session of its own. */
export async function signInByPassword(page, path = '/dashboard/') {
  await page.goto(origin + path);
  await page.getByRole('textbox', { name: 'Password' }).fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
}

let token = ''; // of the session that the flows share, so that a page is signed in as it loads

/** Opens a page as an owner who has signed in. */
export async function signIn(page, path = '/dashboard/') {
  if (!token) {
    const answer = await fetch(`${origin}/sluice/v1/session`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'admin', password }) });
    if (!answer.ok) throw new Error(await answer.text());
    token = answer.headers.getSetCookie().find((c) => c.startsWith('sluice_session=')).split(';')[0].split('=')[1];
  }
  await page.context().addCookies([{ name: 'sluice_session', value: token, url: origin, httpOnly: true, sameSite: 'Strict' }]);
  await page.goto(origin + path);
  await page.getByRole('navigation').waitFor();
}

export async function visit(page, name) {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 1, name }).waitFor();
}

export async function choose(page, field, option) {
  await page.getByRole('combobox', { name: field }).click();
  await page.getByRole('option', { name: option, exact: true }).click();
}

export const ask = (method, path, body, headers = {}) => fetch(origin + path, {
  method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
});
export const read = async (path) => (await ask('GET', path)).json();
/** Waits for what the server will say in the end. */
export async function until(holds) {
  const end = Date.now() + patience;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never came true: ${holds}`);
    await new Promise((done) => { setTimeout(done, 50); });
  }
}
export const say = (model, text, more = {}) => ask('POST', '/v1/chat/completions', { model, messages: [{ role: 'user', content: text }], ...more });
