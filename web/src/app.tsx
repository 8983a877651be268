// The frame: who is signed in, the pages, and how to get from one to another.
import { Alert, Loader, useMantineColorScheme } from '@mantine/core';
import { useDisclosure, useHotkeys } from '@mantine/hooks';
import { IconBrightness, IconLanguage, IconLogout, IconMenu2, IconPlugConnectedX, IconRipple, IconSearch, IconX } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Suspense, useEffect, useRef, useState } from 'react';
import { Link, Redirect, Route, Switch, useLocation } from 'wouter';
import { entry } from './api/entry';
import { onSignedOut } from './api/client';
import { useIsAway } from './api/reach';
import { hasSession, signOut } from './api/session';
import { type Language, languages, useSpeech, useWords } from './i18n';
import { Boundary } from './parts/boundary';
import { late } from './parts/late';
import { Failure } from './parts/pieces';
import { SmallMenu } from './parts/small-menu';
import { groups, places } from './places';

const Start = late(() => import('./pages/start'));
const SignIn = late(() => import('./pages/sign-in'));
const Palette = late(() => import('./parts/palette'));

/** Whether the server takes us is asked once; afterwards any refusal leads back to the form. Who had a session the last time is
 * taken to have it still until the answer says otherwise. */
export function App() {
  const queries = useQueryClient();
  const [isOver, setOver] = useState(false);
  const asked = useQuery(entry);
  useEffect(() => onSignedOut(() => setOver(true)), []);
  const again = () => {
    queries.removeQueries({ predicate: (q) => q.queryKey[0] !== entry.queryKey[0] }); // nothing of whoever was here before
    void queries.invalidateQueries(entry);
  };
  if (asked.error) return <div className="shell-room"><Failure error={asked.error} retry={() => void asked.refetch()} /></div>;
  if (!asked.data && (isOver || !hasSession())) return <div className="shell-wait"><Loader /></div>;
  if (asked.data && (!asked.data.isIn || isOver))
    return <Suspense fallback={<div className="shell-wait"><Loader /></div>}><SignIn isOver={isOver && asked.data.isIn} onDone={() => { setOver(false); again(); }} /></Suspense>;
  return <Frame name={asked.data?.who?.name ?? ''} onSignOut={() => void signOut().catch(() => undefined).finally(again)} />;
}

function Frame({ name, onSignOut }: { name: string; onSignOut: () => void }) {
  const { words, speak } = useSpeech();
  const [isMenuOpen, menu] = useDisclosure();
  const [isPaletteOpen, palette] = useDisclosure();
  const [hasPalette, setPalette] = useState(false);
  const [location] = useLocation();
  const { setColorScheme } = useMantineColorScheme();
  useHotkeys([['mod+K', palette.toggle], ['Escape', menu.close]], []);
  const opener = useRef<HTMLButtonElement>(null);
  const closer = useRef<HTMLButtonElement>(null);
  const wasMenuOpen = useRef(false);
  useEffect(() => { // where the pages are a menu, the focus goes into it and comes back
    if (isMenuOpen) closer.current?.focus();
    else if (wasMenuOpen.current && document.activeElement?.closest('.shell-side')) opener.current?.focus();
    wasMenuOpen.current = isMenuOpen;
  }, [isMenuOpen]);
  useEffect(() => { if (isPaletteOpen) setPalette(true); }, [isPaletteOpen]);
  const isAt = (path: string) => (path === '/' ? location === '/' : location === path || location.startsWith(`${path}/`));
  return (
    <div className="shell" data-menu={isMenuOpen || undefined}>
      <a href="#content" className="skip">{words.skip}</a>
      <header className="shell-head">
        <button type="button" ref={opener} className="icon-button" onClick={menu.toggle} aria-label={words.menu} aria-expanded={isMenuOpen}><IconMenu2 size={20} /></button>
        <span className="brand"><IconRipple size={20} aria-hidden />sluice</span>
        <button type="button" className="icon-button" onClick={palette.open} aria-label={words.search}><IconSearch size={18} /></button>
      </header>
      <nav className="shell-side" aria-label={words.pages}>
        <div className="shell-brand">
          <span className="brand"><IconRipple size={22} aria-hidden />sluice</span>
          <button type="button" ref={closer} className="icon-button shell-close" onClick={menu.close} aria-label={words.close}><IconX size={20} /></button>
        </div>
        <button type="button" className="finder" onClick={palette.open}><IconSearch size={14} aria-hidden />{words.search}<kbd>Ctrl K</kbd></button>
        <div className="shell-links">
          {groups.map((group) => (
            <div key={group}>
              {group !== 'top' && <div className="nav-group">{words[group]}</div>}
              {places.filter((p) => p.group === group).map(({ path, word, icon: Icon }) => (
                <Link key={path} href={path} className="nav-link" onClick={menu.close} data-active={isAt(path) || undefined} aria-current={isAt(path) ? 'page' : undefined}>
                  <Icon size={17} />{words[word]}
                </Link>
              ))}
            </div>
          ))}
        </div>
        <div className="shell-foot">
          <SmallMenu label={words.scheme} icon={<IconBrightness size={17} />} choices={[{ name: words.light, run: () => setColorScheme('light') }, { name: words.dark, run: () => setColorScheme('dark') }, { name: words.system, run: () => setColorScheme('auto') }]} />
          <SmallMenu label={words.language} icon={<IconLanguage size={17} />} choices={(Object.keys(languages) as Language[]).map((l) => ({ name: languages[l].name, run: () => speak(l) }))} />
          <span className="ell shell-who" title={name}>{name}</span>
          <button type="button" className="icon-button" onClick={onSignOut} aria-label={words.signOut} title={name ? `${words.signOut} (${name})` : words.signOut}><IconLogout size={17} /></button>
        </div>
      </nav>
      <main id="content" className="shell-main" tabIndex={-1}>
        <div className="shell-room">
          <Reach />
          <Boundary key={location.split('/')[1] ?? ''}>
            <Suspense fallback={<Loader size="sm" />}>
              <Switch>
                {places.map(({ path, page }) => <Route key={path} path={path === '/' ? path : `${path}/:rest?`} component={page} />)}
                <Route path="/start" component={Start} />
                <Route><Redirect to="/" /></Route>
              </Switch>
            </Suspense>
          </Boundary>
        </div>
      </main>
      <Suspense fallback={null}>
        {hasPalette && <Palette opened={isPaletteOpen} onClose={palette.close} onSignOut={onSignOut} />}
      </Suspense>
    </div>
  );
}

/** Says so while the server cannot be reached, and has everything asked again once it is back. */
function Reach() {
  const words = useWords();
  const isAway = useIsAway();
  return isAway ? <Alert color="orange" variant="light" mb="md" icon={<IconPlugConnectedX />} title={words.away} role="status">{words.awayHint}</Alert> : null;
}
