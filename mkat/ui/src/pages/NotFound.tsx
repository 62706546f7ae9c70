// An address that no page has.
import { Link } from '@tanstack/react-router';

export function NotFoundPage() {
  return (
    <main className="mx-auto max-w-md py-16 text-center">
      <h1>There is no such page</h1>
      <p className="mt-2"><Link to="/" className="link">To the dashboard</Link></p>
    </main>
  );
}
