// Settings: what each may be is said while it is typed, where it stands, back to its default; versions compared and gone back to; backups.
import assert from 'node:assert/strict';
import { choose, read, signIn, until, visit } from './browser.mjs';

const value = async (name) => (await read(`/sluice/v1/settings/${name}`)).value;

export async function settings({ page }) {
  const first = await value('max_attempts');
  await signIn(page, '/dashboard/settings');
  const row = (name) => page.getByRole('list', { name: 'Settings' }).getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) });
  await page.getByRole('textbox', { name: 'Find a setting' }).fill('max_attempts');
  const field = page.getByRole('textbox', { name: 'max_attempts', exact: true });
  await field.fill('0');
  await page.getByText('A whole number, 1 – 100').waitFor(); // said while it is typed
  assert.ok(await page.getByRole('button', { name: 'Save max_attempts' }).isDisabled());
  await field.fill('7');
  await page.getByRole('button', { name: 'Save max_attempts' }).click();
  const saved = page.getByRole('alert').filter({ hasText: 'Saved: max_attempts' });
  await saved.waitFor();
  await until(() => saved.evaluate((toast) => { // it can be read, whatever it stands above
    const look = getComputedStyle(toast);
    return look.display === 'flex' && look.boxShadow !== 'none' && /^rgb\(/.test(look.backgroundColor);
  }));
  assert.equal(await value('max_attempts'), 7);
  await row('max_attempts').getByText('sluice.jsonc').waitFor(); // where it stands
  // what the file or the environment alone decide, and what only the server knows to be wrong
  const find = page.getByRole('textbox', { name: 'Find a setting' });
  await row('max_attempts').getByText('sluice.jsonc: server.max_attempts', { exact: true }).waitFor();
  await find.fill('port'); // which is no quantity
  assert.equal(await page.getByRole('textbox', { name: 'port', exact: true }).inputValue(), String(await value('port')));
  await find.fill('capabilities');
  await row('capabilities').getByText(/Set in the file or the environment only/).waitFor();
  assert.ok(await page.getByRole('textbox', { name: 'capabilities', exact: true }).isDisabled());
  await find.fill('ip_allow');
  await page.getByRole('textbox', { name: 'ip_allow', exact: true }).fill('not an address');
  await row('ip_allow').getByText(/'ip_allow': /).waitFor();
  assert.ok(await page.getByRole('button', { name: 'Save ip_allow' }).isDisabled());
  await page.getByRole('button', { name: 'Undo ip_allow' }).click();
  await find.fill('max_attempts');
  await page.getByRole('button', { name: 'Back to the default max_attempts' }).click();
  await page.getByText('Saved: max_attempts').last().waitFor();
  await until(async () => (await value('max_attempts')) === first);

  // versions: what changed, what differs from now, and the way back
  await page.getByRole('tab', { name: 'History' }).click();
  await page.waitForURL(/settings\/history$/);
  await page.getByRole('row').nth(2).getByRole('button', { name: 'Show changes' }).click();
  await page.getByText('max_attempts').first().waitFor();
  await page.getByText('What differs now').click();
  await page.locator('.line').first().waitFor();
  await page.getByRole('button', { name: 'Go back to this' }).first().click();
  const sure = page.getByRole('dialog');
  await sure.locator('.line').first().waitFor();
  await sure.getByRole('button', { name: 'Go back to this' }).click();
  await page.getByText('The configuration went back').waitFor();
  assert.equal(await value('max_attempts'), 7);

  // the audit log knows all of it
  await page.getByRole('tab', { name: 'Audit log' }).click();
  await page.getByRole('textbox', { name: 'Kind' }).fill('setting');
  await page.keyboard.press('Enter');
  await page.waitForURL(/kind=setting/);
  await page.getByRole('button', { name: /^Show changes/ }).first().click();
  await page.locator('.line').first().waitFor();
  // and finds what happened when, in either order
  await page.getByLabel('Until', { exact: true }).fill('2020-01-01T00:00');
  await page.waitForURL(/until=2020|until=2019/);
  await page.getByText('Nothing found').waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByRole('row').nth(2).waitFor();
  await until(async () => (await page.getByLabel('Until', { exact: true }).inputValue()) === '');
  const ids = () => page.getByRole('button', { name: /^Show changes/ }).evaluateAll((all) => all.map((b) => Number(b.getAttribute('aria-label').replace(/\D/g, ''))));
  const ordered = (by) => until(async () => { const all = await ids(); return all.length > 1 && all.every((n, i) => i === 0 || by(all[i - 1], n)); });
  await ordered((a, b) => a > b);
  await choose(page, 'Order', 'Oldest first');
  await ordered((a, b) => a < b);
  await page.getByRole('tab', { name: 'History' }).click();
  await choose(page, 'Who', 'admin');
  await page.waitForURL(/actor=operator/);
  await until(async () => (await page.locator('tbody tr').count()) > 0 && (await page.getByRole('cell', { name: 'start', exact: true }).count()) === 0);

  // copies
  await page.getByRole('tab', { name: 'Backup' }).click();
  await page.getByRole('button', { name: 'Copy the store now' }).first().click();
  await page.getByRole('cell', { name: /^db_.*_manual\.sqlite$/ }).waitFor();
  await page.getByRole('button', { name: /^Restore db_/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restore', exact: true }).click();
  await page.getByText('What was configured then is in force again').waitFor();
  await page.getByRole('cell', { name: 'before a restore' }).waitFor();

  // and in the other language
  await visit(page, 'Settings');
  await page.getByRole('button', { name: 'Language' }).click();
  await page.getByRole('menuitem', { name: '中文' }).click();
  await page.getByRole('heading', { name: '设置' }).waitFor();
  await page.reload();
  await page.waitForFunction(() => document.documentElement.lang === 'zh-Hans');
}
