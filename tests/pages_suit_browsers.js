// Examines the pages of a service in Chromium, and prints what is wrong as JSON: one line for each
// finding. Arguments: the address of the service, and the job to run.
//
// Each page is examined light and dark, narrow and wide: by axe, by html-validate, for violations
// of its Content-Security-Policy, and for overflow. Without scripts it must read the same. The run
// is started by the keyboard alone.
const { chromium } = require('playwright-core');
const { HtmlValidate } = require('html-validate');
const axe = require('axe-core');

const [base, job] = process.argv.slice(2);
const CONTEXTS = ['light', 'dark'].flatMap((colorScheme) =>
  [360, 1280].map((width) => ({ colorScheme, viewport: { width, height: 800 } })));
// The number of pages of each kind, such as /runs/ID.
const MAX_OF_KIND = 3;
const findings = [];
const find = (path, context, text) =>
  findings.push(`${path} (${context.colorScheme} ${context.viewport.width}): ${text}`);

// Returns the paths of all pages that the first one leads to.
async function paths(page) {
  const found = ['/'];
  const isNew = (path) =>
    !found.includes(path) && found.filter((other) => other.split('/')[1] === path.split('/')[1]).length < MAX_OF_KIND;
  for (let next = 0; next < found.length; next++) {
    await page.goto(base + found[next]);
    const links = await page.$$eval('a[href]', (all) => all.map((a) => a.href));
    for (const link of links.map((href) => new URL(href))) {
      if (link.origin === base && isNew(link.pathname)) found.push(link.pathname);
    }
  }
  return found;
}

async function examine(browser, path, context) {
  const tab = await browser.newContext(context);
  const page = await tab.newPage();
  page.on('console', (message) => message.type() === 'error' && find(path, context, message.text()));
  page.on('pageerror', (error) => find(path, context, error.message));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const answer = await page.goto(base + path);
  if (answer.status() !== 200) find(path, context, `status ${answer.status()}`);
  if (!(answer.headers()['content-type'] || '').startsWith('text/html')) return tab.close();
  // Evaluated by the debugger, which the policy of the page does not concern.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const { id, nodes } of violations) find(path, context, `axe: ${id}: ${nodes.map((node) => node.html)[0]}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (overflow > 0) find(path, context, `is ${overflow} pixels wider than the window`);
  const text = await page.innerText('main');
  await tab.close();

  const plain = await browser.newContext({ ...context, javaScriptEnabled: false });
  const still = await plain.newPage();
  await still.goto(base + path);
  const without = await still.innerText('main');
  // Ages grow between the two requests.
  const words = (all) => all.replace(/\d+/g, '0').split(/\s+/).join(' ');
  if (words(without) !== words(text)) find(path, context, `without scripts: ${without}`);
  await plain.close();
}

async function validate(request, path) {
  const answer = await request.get(base + path, { headers: { Accept: 'text/html' } });
  if (!(answer.headers()['content-type'] || '').startsWith('text/html')) return;
  const report = await new HtmlValidate({ extends: ['html-validate:standard'] }).validateString(await answer.text());
  for (const { messages } of report.results) {
    for (const { ruleId, message, line } of messages) findings.push(`${path}:${line}: ${ruleId}: ${message}`);
  }
}

// Starts the job by the keyboard, and waits until the page shows it.
async function run(browser) {
  const page = await (await browser.newContext(CONTEXTS[0])).newPage();
  await page.goto(base);
  const action = `/jobs/${job}/run`;
  for (let presses = 0; ; presses++) {
    await page.keyboard.press('Tab');
    const isThere = (wanted) => document.activeElement.closest('form')?.getAttribute('action') === wanted;
    if (await page.evaluate(isThere, action)) break;
    if (presses > 200) return findings.push(`the keyboard does not reach the button of ${job}`);
  }
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url() === base + action),
    page.keyboard.press('Enter'),
  ]);
  if (answer.status() >= 400) findings.push(`${action}: status ${answer.status()}`);
}

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const page = await (await browser.newContext()).newPage();
  const all = await paths(page);
  for (const path of all) {
    await validate(page.request, path);
    for (const context of CONTEXTS) await examine(browser, path, context);
  }
  await run(browser);
  await browser.close();
  console.log(JSON.stringify({ pages: all, findings }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
