// Create, edit and delete a service.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useRef, useState, type FormEvent, type ReactNode } from 'react';
import { ApiError, api } from '../api/client';
import { serviceContactsQuery, serviceQuery } from '../api/queries';
import type { Contact, Service } from '../api/types';
import { ServiceForm, emptyService, monitorDetailsOf, type ServiceFormValue } from '../components/ServiceForm';
import { Button, ErrorNote, Loading, buttonClass } from '../components/ui/basic';
import { FormDialog } from '../components/ui/dialog';
import { detailsOf } from '../lib/errors';
import { formOf, inputOf } from '../lib/monitorForm';
import { MonitorError, saveService } from '../lib/saveService';

export function NewServicePage() {
  const [value, setValue] = useState(emptyService);
  const made = useRef<Service>(null);
  const navigate = useNavigate();
  const client = useQueryClient();
  const create = useMutation({
    mutationFn: async () => {
      const { contactIds, monitors, ...own } = value;
      const body = { ...own, severity: Number(own.severity), monitors: monitors.map(inputOf) };
      // A second try after refused contacts must not make a second service.
      made.current ??= await api.post<Service>('/services', body);
      if (contactIds.length > 0) await api.put(`/services/${made.current.id}/contacts`, { contactIds });
      return made.current;
    },
    onSuccess: async (service) => {
      void client.invalidateQueries();
      await navigate({ to: '/services/$id', params: { id: service.id } });
    },
  });
  const details = detailsOf(create.error);
  return (
    <Frame title="New service" back={<Link to="/services" className={buttonClass()}>Cancel</Link>} action="Create" mutation={create}>
      <ServiceForm value={value} onChange={setValue} details={details} monitorDetails={(_, index) => monitorDetailsOf(details, index)} />
    </Frame>
  );
}

export function EditServicePage() {
  const { id } = useParams({ from: '/inside/services/$id/edit' });
  const service = useQuery(serviceQuery(id));
  const contacts = useQuery(serviceContactsQuery(id));
  const missing = contacts.error instanceof ApiError && contacts.error.isMissingEndpoint;
  const ready = service.data && (contacts.data || missing);
  const error = service.error ?? contacts.error;
  // A refresh that fails behind a filled form is no reason to take the form away.
  if (!ready && error) return <><h1 className="mb-4">Edit service</h1><ErrorNote error={error} /></>;
  if (!ready) return <Loading />;
  // What is being typed must not be replaced by a live update: the form starts from the first answer.
  return <EditForm key={id} service={service.data} contacts={contacts.data ?? []} />;
}

function EditForm({ service, contacts }: { service: Service; contacts: Contact[] }) {
  const [value, setValue] = useState<ServiceFormValue>(() => ({
    name: service.name,
    description: service.description ?? '',
    severity: String(service.severity),
    monitors: service.monitors.map(formOf),
    contactIds: contacts.map((contact) => contact.id),
  }));
  const [deleting, setDeleting] = useState(false);
  const navigate = useNavigate();
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () => saveService(api, service, contacts, value, setValue),
    onSettled: () => client.invalidateQueries(),
    onSuccess: () => navigate({ to: '/services/$id', params: { id: service.id } }),
  });
  const failed = save.error instanceof MonitorError ? save.error : null;
  return (
    <Frame
      title={`Edit ${service.name}`} action="Save" mutation={save}
      back={<Link to="/services/$id" params={{ id: service.id }} className={buttonClass()}>Cancel</Link>}
      extra={<Button look="danger" onClick={() => setDeleting(true)}>Delete service</Button>}
    >
      <ServiceForm
        value={value} onChange={setValue} details={failed ? null : detailsOf(save.error)}
        monitorDetails={(monitor) => (failed?.key === monitor.key ? failed.details : null)}
      />
      {deleting && <DeleteDialog service={service} onClose={() => setDeleting(false)} />}
    </Frame>
  );
}

interface FrameProps {
  title: string;
  action: string;
  back: ReactNode;
  extra?: ReactNode;
  mutation: { error: unknown; isPending: boolean; mutate: () => void };
  children: ReactNode;
}

function Frame({ title, action, back, extra, mutation, children }: FrameProps) {
  function submit(event: FormEvent): void {
    event.preventDefault();
    mutation.mutate();
  }
  return (
    <form onSubmit={submit} className="mx-auto flex max-w-3xl flex-col gap-4" noValidate>
      <h1 className="break-words">{title}</h1>
      {children}
      <ErrorNote error={mutation.error} />
      <div className="flex flex-wrap gap-2">
        <Button type="submit" look="main" disabled={mutation.isPending}>{action}</Button>
        {back}
        <span className="ml-auto">{extra}</span>
      </div>
    </form>
  );
}

function DeleteDialog({ service, onClose }: { service: Service; onClose: () => void }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api.delete(`/services/${service.id}`),
    onSuccess: async () => {
      await navigate({ to: '/services' });
      client.removeQueries({ queryKey: ['service', service.id] });
      await client.invalidateQueries();
    },
  });
  return (
    <FormDialog
      title={`Delete ${service.name}?`} description="Its monitors, history and alerts go with it. This cannot be undone."
      action="Delete" danger open onClose={onClose} pending={remove.isPending} error={remove.error} onSubmit={() => remove.mutate()}
    >{null}</FormDialog>
  );
}
