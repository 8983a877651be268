// A page that breaks says so and leaves the rest standing.
import { Component, type ReactNode } from 'react';
import { Failure } from './pieces';

export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    return error ? <Failure error={error} retry={() => this.setState({ error: null })} /> : this.props.children;
  }
}
