// A page that breaks says so and leaves the rest standing. One that did not come is read anew by itself, but not again and again.
import { Component, type ReactNode } from 'react';
import { useWords } from '../i18n';
import { NotLoaded } from './late';
import { Failure } from './pieces';

const pauseMs = 60_000;
const noted = 'reloaded';

export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override componentDidCatch(error: Error) {
    if (!(error instanceof NotLoaded) || Date.now() - Number(sessionStorage.getItem(noted)) < pauseMs) return;
    sessionStorage.setItem(noted, String(Date.now()));
    location.reload();
  }

  override render() {
    const { error } = this.state;
    return error instanceof NotLoaded ? <Missing /> : error ? <Failure error={error} retry={() => this.setState({ error: null })} /> : this.props.children;
  }
}

function Missing() {
  const words = useWords();
  return <Failure error={new Error(words.partMissing)} retry={() => location.reload()} />;
}
