// Pictures of the dashboard for the README: node screenshots.mjs ORIGIN FOLDER STORE. Started by tools/screenshots.
import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { chromium } from 'playwright-core';

const [origin, folder, store] = process.argv.slice(2);
const keys = ['sk-web-00000000000000000000000000000', 'sk-ci-000000000000000000000000000000', 'sk-laptop-00000000000000000000000000'];
const models = ['claude-sonnet-4-5', 'gpt-5', 'gemini-2.5-pro', 'gpt-5-mini', 'claude-haiku-4-5', 'shared-chat', 'gemini-2.5-flash', 'smart', 'coding', 'qwen3-coder'];
const texts = ['Summarise the incident report in three sentences and name the owner of each step.', 'Write a unit test for the parser that fails on a missing brace.',
  'Translate the release notes into French, keeping the code as it is.', 'Which of these invoices differ from the order, and by how much?'];

async function say(i, delay) {
  const isAnthropic = i % 3 === 0;
  return fetch(origin + (isAnthropic ? '/v1/messages' : '/v1/chat/completions'), {
    method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${keys[(i * 7) % 3]}` },
    body: JSON.stringify({
      model: models[(i * 3) % models.length], stream: i % 2 === 0, max_tokens: 400, ...(isAnthropic && { top_k: 40, system: 'Answer briefly.' }),
      messages: [{ role: 'user', content: `[[delay ${delay}]] ${texts[i % texts.length]}` }],
    }),
  }).then((r) => r.text().then(() => r), () => null);
}

for (let n = 0; ; n++) {
  if (await fetch(`${origin}/readyz`).then((r) => r.ok, () => false)) break;
  if (n > 100) throw new Error('sluice does not start');
  await new Promise((done) => setTimeout(done, 100));
}
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
let isOver = false;
const traffic = (async () => {
  for (let i = 0; !isOver; i++) {
    void say(i, 40 + ((i * 37) % 400));
    await new Promise((done) => setTimeout(done, 120 + 100 * Math.sin(i / 14)));
  }
})();
const slow = say(1, 120_000); // something in flight
await new Promise((done) => setTimeout(done, Number(process.env.WARM_UP_MS ?? 60_000)));

/** The weeks before, made up from the sums of the hour under way: busy by day, quiet at the week's end. */
function makeUpThePast() {
  const db = new DatabaseSync(store);
  const sums = db.prepare('SELECT * FROM ledger_hour').all();
  const put = db.prepare('INSERT OR IGNORE INTO ledger_hour VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const now = Math.floor(Date.now() / 3_600_000);
  let seed = 7;
  const draw = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  db.exec('BEGIN');
  for (let hour = now - 30 * 24; hour < now; hour++) {
    const at = new Date(hour * 3_600_000);
    const busy = (at.getDay() % 6 === 0 ? 0.3 : 1) * (at.getHours() > 7 && at.getHours() < 19 ? 1.5 : 0.4);
    for (const { kind, hour: _, ...figures } of sums) if (draw() > 0.3) put.run(hour, kind, ...Object.values(figures).map((v) => Math.round(v * busy * (0.3 + draw()))));
  }
  db.exec('COMMIT');
  db.close();
}
makeUpThePast();

async function shoot(width, height, scheme, shots) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(`${origin}/dashboard/`);
  await page.getByRole('textbox', { name: 'Password' }).fill('a password for pictures');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
  const cdp = await context.newCDPSession(page);
  for (const [name, path, act] of shots) {
    await page.goto(`${origin}/dashboard/${path}`);
    await page.getByRole('heading', { level: 1 }).first().waitFor();
    await page.waitForFunction(() => !document.querySelector('[aria-label="Loading"], .mantine-Loader-root'));
    if (path === '') await page.locator('.chart canvas').first().waitFor();
    await page.waitForTimeout(2_500);
    if (act) await act(page);
    await page.waitForTimeout(600);
    const { data } = await cdp.send('Page.captureScreenshot', { format: 'webp', quality: 84 });
    writeFileSync(`${folder}/${name}-${width}-${scheme}.webp`, Buffer.from(data, 'base64'));
  }
  await context.close();
}

const inspect = async (page) => {
  await page.getByRole('table', { name: 'Requests' }).getByRole('cell').getByText('shared-chat').first().click(); // not one in flight
  await page.getByRole('dialog').getByRole('tab', { name: 'Bodies' }).click();
};
const chat = async (page) => {
  await page.getByRole('button', { name: 'Compare' }).click();
  await page.getByRole('textbox', { name: 'Your message' }).fill(texts[0]);
  await page.getByRole('button', { name: 'Send' }).click();
};
await shoot(1440, 900, 'light', [['dashboard', ''], ['requests', 'requests'], ['inspector', 'requests?model=shared-chat&format=anthropic&stream=false', inspect], ['models', 'models'], ['providers', 'providers'], ['routing', 'routing?combo=coding'], ['cost', 'cost?span=30d&then=key']]);
await shoot(1440, 900, 'dark', [['dashboard', ''], ['start', 'start'], ['playground', 'playground?model=gpt-5', chat], ['decision', 'routing/trace?model=smart'], ['settings', 'settings']]);
await shoot(768, 1024, 'light', [['dashboard', '']]);
await shoot(360, 740, 'dark', [['dashboard', ''], ['requests', 'requests'], ['keys', 'keys']]);
isOver = true;
await traffic;
await browser.close();
process.exit(0); // what is in flight ends with the server
void slow;
