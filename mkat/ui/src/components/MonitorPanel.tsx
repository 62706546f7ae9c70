// One monitor of a service: how it is set, its addresses, what it heard last.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { RefreshCw } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { api } from '../api/client';
import type { Monitor, Service } from '../api/types';
import { duration, number } from '../lib/format';
import { monitorTypeName, strategyName } from '../lib/labels';
import { CopyableUrl } from './CopyableUrl';
import { MetricChart } from './MetricChart';
import { StateIndicator } from './StateIndicator';
import { Button, Panel, Time } from './ui/basic';
import { FormDialog } from './ui/dialog';

export function MonitorPanel({ service, monitor }: { service: Service; monitor: Monitor }) {
  const [rotating, setRotating] = useState(false);
  return (
    <Panel
      title={<span className="flex items-center gap-3">{monitorTypeName(monitor.type)} <StateIndicator state={monitor.state} /></span>}
      actions={monitor.type !== 2 && (
        <Button look="quiet" onClick={() => setRotating(true)} aria-label={`New address for this ${monitorTypeName(monitor.type).toLowerCase()} monitor`}>
          <RefreshCw aria-hidden size={16} /> New address
        </Button>
      )}
    >
      <dl className="grid grid-cols-2 gap-x-4 gap-y-2 sm:grid-cols-3">{facts(monitor).map(([name, value]) => <Fact key={name} name={name}>{value}</Fact>)}</dl>
      <div className="mt-3 flex flex-col gap-2"><Addresses monitor={monitor} /></div>
      {monitor.type === 3 && <MetricChart serviceId={service.id} monitor={monitor} />}
      <RotateDialog service={service} monitor={monitor} open={rotating} onClose={() => setRotating(false)} />
    </Panel>
  );
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-soft">{name}</dt>
      <dd className="break-words">{children}</dd>
    </div>
  );
}

function facts(monitor: Monitor): [string, ReactNode][] {
  const last: [string, ReactNode] = ['Last heard of', monitor.lastCheckIn ? <Time at={monitor.lastCheckIn} /> : 'never'];
  const interval: [string, ReactNode] = ['Every', duration(monitor.intervalSeconds)];
  switch (monitor.type) {
    case 0:
      return [last];
    case 1:
      return [interval, ['Grace', duration(monitor.gracePeriodSeconds)], last];
    case 2:
      return [
        ['Address', monitor.healthCheckUrl], ['Method', monitor.httpMethod], ['Expected status', monitor.expectedStatusCodes],
        interval, ['Timeout', duration(monitor.timeoutSeconds ?? 0)], ['Body must match', monitor.bodyMatchRegex ?? 'anything'], last,
      ];
    case 3:
      return [
        ['Range', range(monitor)], ['Judged by', strategy(monitor)], ['Kept for', `${monitor.retentionDays} days`],
        ['Last value', monitor.lastMetricValue === null ? 'none' : <strong>{number(monitor.lastMetricValue)}</strong>],
        ['Received', monitor.lastMetricAt ? <Time at={monitor.lastMetricAt} /> : 'never'],
      ];
  }
}

function range({ minValue, maxValue }: Monitor): string {
  if (minValue === null) return `at most ${number(maxValue ?? 0)}`;
  return maxValue === null ? `at least ${number(minValue)}` : `${number(minValue)} to ${number(maxValue)}`;
}

function strategy(monitor: Monitor): string {
  const name = strategyName(monitor.thresholdStrategy ?? 0);
  const detail = [null, monitor.thresholdCount, monitor.windowSeconds && duration(monitor.windowSeconds), monitor.windowSampleCount][monitor.thresholdStrategy ?? 0];
  return detail ? `${name} (${detail})` : name;
}

function Addresses({ monitor }: { monitor: Monitor }) {
  switch (monitor.type) {
    case 0:
      return <><CopyableUrl label="Failure address (POST)" url={monitor.webhookFailUrl} /><CopyableUrl label="Recovery address (POST)" url={monitor.webhookRecoverUrl} /></>;
    case 1:
      return <CopyableUrl label="Heartbeat address (GET or POST)" url={monitor.heartbeatUrl} />;
    case 2:
      return null;
    case 3:
      return <CopyableUrl label="Metric address (POST value)" url={monitor.metricUrl} />;
  }
}

function RotateDialog({ service, monitor, open, onClose }: { service: Service; monitor: Monitor; open: boolean; onClose: () => void }) {
  const client = useQueryClient();
  const rotate = useMutation({
    mutationFn: () => api.post(`/services/${service.id}/monitors/${monitor.id}/rotate-token`),
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['service', service.id] });
    },
  });
  return (
    <FormDialog
      title="New address" description="The present address stops working at once. Whoever reports to it needs the new one."
      action="Replace" danger open={open} onClose={onClose} pending={rotate.isPending} error={rotate.error} onSubmit={() => rotate.mutate()}
    >{null}</FormDialog>
  );
}
