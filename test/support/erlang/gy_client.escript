#!/usr/bin/env escript
%% A Gy client made of Erlang/OTP's diameter application, that does what it is told: it connects to 127.0.0.1:PORT, then reads
%% Erlang terms from its input, one after the other:
%%
%%     {call, #{AVPs}}.    sends a CCR and waits for its answer
%%     {react, Code}.      from now on RAR and ASR are answered with this Result-Code
%%     watched.            waits until its DWR was answered, and it has answered one
%%     stop.               says good-bye
%%
%% Each answer, and what else happens, is one JSON line; text that is not plain is { "hex": ... }.
%%
%%     escript gy_client.escript DICTIONARY PORT ORIGIN-HOST [SERVER-NAME AUTHORITY CERTIFICATE KEY]
%%
%% With the last four it speaks TLS and shows the certificate.
-module(gy_client).
-mode(compile).

-export([tw/0]).
-export([peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3, handle_answer/4,
         handle_error/4, handle_request/3]).

-define(SERVICE, gy_client).
-define(REALM, "example.net").
-define(LIMITED_SUCCESS, 2002).

main([Dictionary, Port, Host | Tls]) ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(default, logger_std_h, #{level => error, config => #{type => standard_error}}),
    load(Dictionary),
    persistent_term:put(origin_host, Host),
    persistent_term:put(reaction, ?LIMITED_SUCCESS),
    {ok, _} = application:ensure_all_started(ssl),
    ok = diameter:start(),
    ok = diameter:start_service(?SERVICE, service(Host)),
    true = diameter:subscribe(?SERVICE),
    {ok, _} = diameter:add_transport(?SERVICE, {connect, transport(list_to_integer(Port), Tls)}),
    case event(up) of
        {up, _, {_, Caps}, _, _} -> say(#{event => up, peer => element(2, element(2, Caps))});
        Other -> say(#{event => not_up, why => Other}), halt(1)
    end,
    obey().

obey() ->
    case io:read('') of
        {ok, {call, Ccr}} -> say(diameter:call(?SERVICE, gy, ['CCR' | Ccr], [])), obey();
        {ok, {react, Code}} -> persistent_term:put(reaction, Code), obey();
        {ok, watched} -> watched(), obey();
        {ok, stop} ->
            ok = diameter:stop_service(?SERVICE),
            say(#{event => stopped}),
            halt(0);
        Other -> say(#{event => not_understood, what => Other}), halt(2)
    end.

%% The dictionary goes from its text into this virtual machine; nothing is written.
load(File) ->
    case code:which(diameter_make) of
        non_existing -> io:put_chars(standard_error, "no diameter application here: install erlang-diameter\n"), halt(3);
        _ -> ok
    end,
    {ok, [Forms]} = diameter_make:codec(File, [forms, return]),
    {ok, Module, Binary} = compile:forms(Forms, []),
    {module, Module} = code:load_binary(Module, "gy.dia", Binary).

service(Host) ->
    [{'Origin-Host', Host},
     {'Origin-Realm', ?REALM},
     {'Host-IP-Address', [{127, 0, 0, 1}]},
     {'Vendor-Id', 0},
     {'Product-Name', "erlang"},
     {'Auth-Application-Id', [4]},
     {string_decode, false},
     {decode_format, map},
     {application, [{alias, common}, {dictionary, diameter_gen_base_rfc6733}, {module, ?MODULE}]},
     {application, [{alias, gy}, {dictionary, gy}, {module, ?MODULE}, {answer_errors, callback},
                    {request_errors, callback}]}].

transport(Port, Tls) ->
    [{transport_module, diameter_tcp},
     {transport_config, [{ip, {127, 0, 0, 1}}, {raddr, {127, 0, 0, 1}}, {rport, Port} | tls(Tls)]},
     {connect_timer, 60000},
     {watchdog_timer, {?MODULE, tw, []}}].

%% With `true` the handshake comes first, not after the capabilities; the other options are those of ssl:connect.
tls([]) -> [];
tls([ServerName, Authority, Certificate, Key]) ->
    [{ssl_options, true}, {verify, verify_peer}, {server_name_indication, ServerName}, {cacertfile, Authority},
     {certfile, Certificate}, {keyfile, Key}].

%% Less than RFC 3539 allows: a test need not wait six seconds for a DWR.
tw() -> 200.

%% Until a DWR of ours was answered, and a DWR of theirs by us.
watched() ->
    Counted = lists:flatten([Counts || {_, Counts} <- diameter:service_info(?SERVICE, statistics)]),
    Answers = [N || Direction <- [recv, send],
                    {{{0, 280, 0}, Way, {'Result-Code', 2001}}, N} <- Counted, Way =:= Direction, N > 0],
    case length(Answers) of
        2 -> say(#{event => watched});
        _ -> timer:sleep(20), watched()
    end.

event(Name) ->
    receive
        {diameter_event, ?SERVICE, Info} when element(1, Info) =:= Name -> Info;
        {diameter_event, ?SERVICE, Info} when element(1, Info) =:= closed -> Info;
        {diameter_event, ?SERVICE, _} -> event(Name)
    after 20000 -> timeout
    end.

%% What the stack asks of an application.

peer_up(_, _, State) -> State.
peer_down(_, _, State) -> State.
pick_peer([Peer | _], _, _, _) -> {ok, Peer};
pick_peer([], _, _, _) -> false.

prepare_request({diameter_packet, _, _, ['CCR' | Ccr], _, _, _}, _, {_, Caps}) ->
    {OurHost, _} = element(2, Caps),
    {OurRealm, TheirRealm} = element(3, Caps),
    {send, ['CCR' | Ccr#{'Origin-Host' => OurHost, 'Origin-Realm' => OurRealm, 'Destination-Realm' => TheirRealm}]}.

prepare_retransmit(Packet, _, _) -> {send, Packet}.

%% `errors` is what the stack has against the answer.
handle_answer({diameter_packet, _, _, [Name | Answer], _, Errors, _}, _, _, _) ->
    Answer#{command => Name, errors => Errors}.

handle_error(Reason, _, _, _) -> #{event => error, why => Reason}.

%% RAR and ASR. The stack has read them by the dictionary: what it has against them is `errors` again.
handle_request({diameter_packet, _, _, [Name | Request], _, Errors, _}, _, {_, Caps}) ->
    say(Request#{event => asked, command => Name, errors => Errors}),
    {OurHost, _} = element(2, Caps),
    {OurRealm, _} = element(3, Caps),
    {reply, [answer_to(Name) | #{'Session-Id' => maps:get('Session-Id', Request),
                                 'Result-Code' => persistent_term:get(reaction),
                                 'Origin-Host' => OurHost,
                                 'Origin-Realm' => OurRealm}]}.

answer_to('RAR') -> 'RAA';
answer_to('ASR') -> 'ASA'.

say(Term) -> io:format("~ts~n", [json(Term)]).

json(Map) when is_map(Map) ->
    Fields = [[json(to_binary(Key)), $:, json(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Fields), $}];
json(List) when is_list(List) -> [$[, lists:join($,, [json(Item) || Item <- List]), $]];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Text) when is_binary(Text) ->
    Plain = lists:all(fun(Octet) -> Octet >= 32 andalso Octet < 127 andalso Octet =/= $" andalso Octet =/= $\\ end,
                      binary_to_list(Text)),
    if
        Plain -> [$", Text, $"];
        true -> json(#{hex => binary:encode_hex(Text)})
    end;
json(Atom) when is_atom(Atom) -> json(to_binary(Atom));
json(Other) -> json(binary:replace(iolist_to_binary(io_lib:format("~0p", [Other])), <<"\"">>, <<"'">>, [global])).

to_binary(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
to_binary(Other) -> iolist_to_binary(io_lib:format("~p", [Other])).
