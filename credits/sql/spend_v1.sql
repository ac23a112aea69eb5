-- Spend credits in one round trip: lock the wallet, answer a repeated key, draw on the open grants in
-- order, write one transaction and its entries, update the wallet. The only implementation of a spend.
--
-- `outcome` is one of
--   spent      the new transaction
--   replayed   the same request came before: its transaction
--   conflict   the key belongs to another request
--   due        time has changed this wallet (an expiry, a refill): settle it and call again
--   no_wallet  the account has no wallet yet: open one and call again
--   frozen, insufficient   refused; nothing was written
--
-- Under READ COMMITTED every statement below sees what was committed before the lock was had,
-- so of two calls with one key the second finds the first one's transaction.
CREATE FUNCTION credits_spend(
    p_account_id uuid,
    p_transaction_id uuid,
    p_amount bigint,
    p_key text,
    p_fingerprint bytea,
    p_feature text,
    p_quantity bigint,
    p_description text,
    p_metadata jsonb,
    p_actor text,
    p_now timestamptz,
    OUT outcome text,
    OUT transaction_id uuid,
    OUT amount bigint,
    OUT balance_after bigint,
    OUT created_at timestamptz,
    OUT lots jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    wallet credits_wallet;
    prior credits_transaction;
    lot record;
    needed bigint := p_amount;
    taken bigint;
BEGIN
    IF p_amount <= 0 THEN
        RAISE EXCEPTION 'a spend takes a positive amount, not %', p_amount USING ERRCODE = 'check_violation';
    END IF;

    SELECT * INTO wallet FROM credits_wallet w WHERE w.account_id = p_account_id FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_wallet';
        RETURN;
    END IF;

    SELECT * INTO prior FROM credits_transaction t
        WHERE t.account_id = p_account_id AND t.idempotency_key = p_key;
    IF FOUND THEN
        IF prior.fingerprint IS DISTINCT FROM p_fingerprint THEN
            outcome := 'conflict';
            RETURN;
        END IF;
        outcome := 'replayed';
        transaction_id := prior.id;
        amount := prior.amount;
        balance_after := prior.balance_after;
        created_at := prior.created_at;
        SELECT coalesce(jsonb_agg(jsonb_build_object('grant', e.grant_id, 'source', g.source, 'amount', -e.amount)
                                  ORDER BY g.priority, g.expires_at NULLS LAST, g.effective_at, g.id), '[]')
            INTO lots
            FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
            WHERE e.transaction_id = prior.id AND e.account_id = p_account_id;
        RETURN;
    END IF;

    IF wallet.next_due_at <= p_now THEN
        outcome := 'due';
        RETURN;
    END IF;
    balance_after := wallet.balance;
    IF wallet.frozen_at IS NOT NULL THEN
        outcome := 'frozen';
        RETURN;
    END IF;
    IF wallet.balance < p_amount THEN
        outcome := 'insufficient';
        RETURN;
    END IF;

    outcome := 'spent';
    transaction_id := p_transaction_id;
    amount := -p_amount;
    balance_after := wallet.balance - p_amount;
    created_at := p_now;
    lots := '[]';
    INSERT INTO credits_transaction (id, account_id, kind, amount, balance_after, idempotency_key, fingerprint,
                                     feature, quantity, description, metadata, actor, created_at)
        VALUES (p_transaction_id, p_account_id, 'spend', -p_amount, balance_after, p_key, p_fingerprint,
                p_feature, p_quantity, p_description, p_metadata, p_actor, p_now);
    FOR lot IN
        SELECT g.id, g.remaining, g.source FROM credits_grant g
            WHERE g.account_id = p_account_id AND g.is_open
            ORDER BY g.priority, g.expires_at NULLS LAST, g.effective_at, g.id
    LOOP
        taken := least(needed, lot.remaining);
        UPDATE credits_grant g SET remaining = g.remaining - taken WHERE g.account_id = p_account_id AND g.id = lot.id;
        INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount)
            VALUES (p_transaction_id, lot.id, p_account_id, -taken);
        lots := lots || jsonb_build_object('grant', lot.id, 'source', lot.source, 'amount', taken);
        needed := needed - taken;
        EXIT WHEN needed = 0;
    END LOOP;
    IF needed > 0 THEN
        -- The wallet said there was enough and the grants say there is not: never guess, never go on.
        RAISE EXCEPTION 'wallet % and its grants disagree by %', p_account_id, needed USING ERRCODE = 'data_corrupted';
    END IF;
    UPDATE credits_wallet w SET balance = w.balance - p_amount WHERE w.account_id = p_account_id;
END;
$$;
