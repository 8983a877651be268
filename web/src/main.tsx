import './first.css';
import './style.css';
import { MantineProvider, mergeThemeOverrides } from '@mantine/core';
import { MutationCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { setNonce } from 'get-nonce';
import { type ReactNode, StrictMode, Suspense, useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { ApiError, dashboardUrl } from './api/client';
import { begin } from './api/entry';
import { App } from './app';
import { Speaking, useWords } from './i18n';
import { Boundary } from './parts/boundary';
import { requestIdle } from './parts/idle';
import { late } from './parts/late';
import { theme, variables } from './theme';

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? '';
setNonce(nonce); // for the styles that hold the page still behind a dialog
const queries: QueryClient = new QueryClient({
  defaultOptions: {
    mutations: { networkMode: 'always' },
    queries: {
      networkMode: 'always', // the server may be this machine, whatever the browser thinks of the network
      staleTime: 5_000,
      retry: (times, error) => !(error instanceof ApiError && error.status < 500) && times < 2,
    },
  },
  // Whatever was changed, every list may show it.
  mutationCache: new MutationCache({ onSuccess: () => void queries.invalidateQueries() }),
});

/** The theme, with the names of buttons that have no text in the viewer's language. */
function Themed({ children }: { children: ReactNode }) {
  const { close } = useWords();
  const spoken = useMemo(() => {
    const named = { defaultProps: { closeButtonProps: { 'aria-label': close } } };
    return mergeThemeOverrides(theme, { components: { Modal: named, Notification: named } });
  }, [close]);
  return <MantineProvider theme={spoken} cssVariablesResolver={variables} defaultColorScheme="auto" getStyleNonce={() => nonce}>{children}</MantineProvider>;
}

const Notices = late(() => import('./parts/notices'));

/** Where messages appear: when there is time for it, for none comes before somebody did something. */
function Later() {
  const [isTime, setTime] = useState(false);
  useEffect(() => { const timer = setTimeout(() => requestIdle(() => setTime(true)), 500); return () => clearTimeout(timer); }, []);
  return isTime ? <Suspense fallback={null}><Notices /></Suspense> : null;
}

const root = document.getElementById('root');
if (!root) throw new Error('the page has no #root');
const base = dashboardUrl.pathname.replace(/\/$/, '');
await begin(queries, location.pathname.replace(/\/$/, '') === base);
createRoot(root).render(
  <StrictMode>
    <Speaking>
      <Themed>
        <QueryClientProvider client={queries}>
          <Boundary>
            <Later />
            <Router base={base}><App /></Router>
          </Boundary>
        </QueryClientProvider>
      </Themed>
    </Speaking>
  </StrictMode>,
);
